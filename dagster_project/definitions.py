"""The composition root: the only place that puts assets, checks, jobs and resources together."""

import os
from pathlib import Path

import dagster as dg

from dagster_project.assets import copilot, critic, evaluation, labels, monitoring, policy, release, traces
from dagster_project.checks import certificate as certificate_checks
from dagster_project.experiments import noise_experiment
from dagster_project.jobs import JOBS
from dagster_project.registry.tracking import Tracking, tracking_from
from dagster_project.resources.mlflow_registry import MlflowRegistry
from dagster_project.resources.progress import Progress
from dagster_project.resources.workspace import Workspace
from dagster_project.schedules import SCHEDULES
from dagster_project.sensors.new_traces import new_trace_files, processes_as_partitions


def build_definitions(root: Path, state: Path, tracking: Tracking, progress: Progress) -> dg.Definitions:
    """All definitions over one project root, state folder and MLflow store. Loads no model and no framework."""
    return dg.Definitions(
        assets=dg.load_assets_from_modules([traces, policy, copilot, labels, evaluation, critic, release, monitoring]),
        asset_checks=dg.load_asset_checks_from_modules([certificate_checks]),
        jobs=[*JOBS, noise_experiment],
        schedules=SCHEDULES,
        sensors=[new_trace_files, processes_as_partitions],
        resources={
            "workspace": Workspace(root=str(root.resolve()), state=str(state.resolve())),
            "mlflow": MlflowRegistry(tracking_uri=tracking.uri, artifacts=str(tracking.artifacts)),
            "progress": progress,
        },
        executor=dg.in_process_executor,
    )


ROOT = Path.cwd()
STATE = Path(os.environ.get("SELECTIVE_AUTONOMY_STATE", ROOT / ".state"))
defs = build_definitions(ROOT, STATE, tracking_from(os.environ, STATE), Progress())
