"""Selective autonomy: hand support-desk work to a language model only where that is proven safe.

This package is the domain. It imports none of the frameworks that carry it (dagster, mlflow,
bentoml, great_expectations, evidently, dvc); those live in `dagster_project`, `quality_checks` and
`bentos`, which depend on this package and never the other way round.
"""
