"""Whether the blocking checks of a process hold, as Dagster recorded them for that process."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter  # no public way to ask for a partition's check in 1.13


def failed_blocking(instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckSpec], process_id: str) -> list[str]:
    """Names of the blocking checks whose latest evaluation for the process failed, or that have none.

    A warning (severity WARN) of a blocking check does not count as a failure: it was given by the check itself.
    """
    keys = [spec.key for spec in checks if spec.blocking]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        keys, partition_filter=PartitionKeyFilter(key=process_id)
    )
    failing = []
    for key in keys:
        record = latest.get(key)
        evaluation = record.event.asset_check_evaluation if record and record.event else None
        name = f"{key.asset_key.to_user_string()}:{key.name}"
        if evaluation is None:
            failing.append(f"{name} (never evaluated)")
        elif not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            failing.append(name)
    return failing
