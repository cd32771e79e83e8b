"""What assets read again and again: the validated sessions by split, and where they came from."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from dagster_project.registry.tracking import Dataset, StageRun
from dagster_project.resources.mlflow_registry import MlflowRegistry
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.splits import Split, read_splits, split_digests
from selective_autonomy.traces.store import read_sessions


def sessions_of(paths: ProcessPaths, *sides: Split) -> dict[Split, list[Session]]:
    """The validated sessions of the named splits, each in file order."""
    split_of = read_splits(paths.splits)
    found: dict[Split, list[Session]] = {side: [] for side in sides}
    for session in read_sessions(paths.validated_sessions):
        side = split_of.get(session.session_id)
        if side in found:
            found[side].append(session)
    return found


def datasets_of(paths: ProcessPaths, *sides: Split) -> list[Dataset]:
    """The named splits as MLflow inputs; a digest is the sha256 of the split's sorted session ids."""
    digests = split_digests(read_splits(paths.splits))
    return [Dataset(f"{paths.process_id}:{side}", digests[side], paths.validated_sessions, side) for side in sides]


@contextmanager
def stage_run(
    context: dg.AssetExecutionContext, mlflow: MlflowRegistry, paths: ProcessPaths, stage: str, *sides: Split
) -> Iterator[StageRun]:
    """The MLflow run of an asset: lineage tags on it, and the splits it sees as its inputs."""
    with mlflow.tracking().run(paths.process_id, stage, lineage_tags(context, paths)) as run:
        run.datasets(datasets_of(paths, *sides))
        yield run


def lineage_tags(context: dg.AssetExecutionContext, paths: ProcessPaths) -> dict[str, str]:
    """Tags that lead from an MLflow run or version back to the Dagster run and to DVC's bytes."""
    from dagster_project.dvc_repo import locked_hashes

    hashes = locked_hashes(paths.root, paths.process_id)
    return {"dagster_run_id": context.run.run_id, **{f"dvc.{path}": md5 for path, md5 in hashes.items()}}
