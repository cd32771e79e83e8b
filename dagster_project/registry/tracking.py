"""The MLflow store: where it is, how a run of it is opened, and what every run carries."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

# `make up` serves a local store here; a remote store has its own address.
LOCAL_UI = "http://127.0.0.1:5000"


@dataclass(frozen=True)
class Dataset:
    """Data a run was made from: `context` says which side (train, fit, ...), `digest` is its sha256."""

    name: str
    digest: str
    source: Path
    context: str


@dataclass(frozen=True)
class StageRun:
    """An open MLflow run. `url` is where a person looks at it."""

    client: MlflowClient
    run_id: str
    url: str

    def params(self, values: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        self.client.log_batch(self.run_id, params=[Param(name, str(value)) for name, value in values.items()])

    def metrics(self, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        points = [Metric(name, float(value), 0, 0) for name, value in values.items()]
        self.client.log_batch(self.run_id, metrics=points)

    def curve(self, name: str, values: Sequence[float]) -> None:
        """A metric's whole history, from step 1 on."""
        self.points(name, dict(enumerate(values, start=1)))

    def points(self, name: str, values: Mapping[int, float]) -> None:
        """A metric at given steps, in as few calls as there can be: one by one costs 25 ms each."""
        from mlflow.entities import Metric

        points = [Metric(name, value, 0, step) for step, value in values.items()]
        for start in range(0, len(points), 1000):
            self.client.log_batch(self.run_id, metrics=points[start : start + 1000])

    def picture(self, png: bytes, name: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{name}.png"
            file.write_bytes(png)
            self.client.log_artifact(self.run_id, str(file), "figures")

    def file(self, path: Path) -> None:
        self.client.log_artifact(self.run_id, str(path))

    def datasets(self, datasets: Sequence[Dataset]) -> None:
        """Inputs of the run. MLflow keeps 36 characters of a digest; the tag keeps all."""
        import mlflow
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.data.sources import LocalArtifactDatasetSource

        for item in datasets:
            meta = MetaDataset(LocalArtifactDatasetSource(str(item.source)), name=item.name, digest=item.digest[:36])
            mlflow.log_input(meta, context=item.context, tags={"sha256": item.digest})


@dataclass(frozen=True)
class Tracking:
    """An MLflow store. `artifacts` is where a local (SQLite) store keeps files; a server has its own place."""

    uri: str
    artifacts: Path

    @classmethod
    def local(cls, state: Path) -> Tracking:
        """The default: SQLite and a folder under the state folder; no server, no account."""
        return cls(f"sqlite:///{state.resolve() / 'mlflow.db'}", state.resolve() / "mlartifacts")

    def client(self) -> MlflowClient:
        """A client of this store; also makes it the current one of MLflow's module functions."""
        import mlflow

        # Bars for 4 kB files tell nobody anything, and MLflow writes them over our own progress.
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        # A hundred lines of schema migrations on first use, and what it validates, are no news to anybody.
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        # MLflow writes both addresses into the environment, where they would pass for the user's own setting.
        given = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        for name, value in given.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        return mlflow.MlflowClient()

    @contextmanager
    def run(self, process_id: str, stage: str, tags: Mapping[str, str]) -> Iterator[StageRun]:
        """One MLflow run of a stage, in the process's experiment; a failure inside marks it FAILED."""
        import mlflow

        client = self.client()
        experiment = client.get_experiment_by_name(process_id)
        if experiment is None:
            place = None if self.uri.startswith("http") else str(self.artifacts / process_id)
            experiment_id = client.create_experiment(process_id, artifact_location=place)
        else:
            experiment_id = experiment.experiment_id
        with mlflow.start_run(
            experiment_id=experiment_id, run_name=stage, tags={"process": process_id, "stage": stage, **tags}
        ) as run:
            yield StageRun(client, run.info.run_id, f"{self._ui}/#/experiments/{experiment_id}/runs/{run.info.run_id}")

    def model_url(self, name: str, version: int) -> str:
        return f"{self._ui}/#/models/{name}/versions/{version}"

    @property
    def _ui(self) -> str:
        return self.uri.rstrip("/") if self.uri.startswith("http") else LOCAL_UI


def tracking_from(environ: Mapping[str, str], state: Path) -> Tracking:
    """The MLflow store that MLFLOW_TRACKING_URI names, else SQLite under the state folder."""
    local = Tracking.local(state)
    return Tracking(environ.get("MLFLOW_TRACKING_URI", "").strip() or local.uri, local.artifacts)
