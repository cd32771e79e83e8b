"""Telemetry of every tool in the stack, off: the one place. Applied when `dagster_project` is imported."""

from __future__ import annotations

from collections.abc import MutableMapping

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "true",
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def switch_off(environ: MutableMapping[str, str]) -> None:
    """Set every opt-out, also over a value that opts in: params.yaml says `telemetry: off` and nothing else."""
    environ.update(TELEMETRY_OFF)
