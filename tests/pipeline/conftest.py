"""Pipeline tests: the real Dagster, MLflow on SQLite and DVC, on a tiny process."""
