"""The MLflow store as a Dagster resource."""

from pathlib import Path

import dagster as dg

from dagster_project.registry.tracking import Tracking


class MlflowRegistry(dg.ConfigurableResource):
    """One setting, `tracking_uri`; `artifacts` is where a local (SQLite) store keeps its files."""

    tracking_uri: str
    artifacts: str

    def tracking(self) -> Tracking:
        return Tracking(self.tracking_uri, Path(self.artifacts))
