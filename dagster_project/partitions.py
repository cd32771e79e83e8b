"""Everything is partitioned by process; a process is one entry of params.yaml, or one folder of canonical traces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from selective_autonomy.params import load_params

PROCESS = dg.DynamicPartitionsDefinition(name="process")


def known_processes(root: Path) -> list[str]:
    """The processes that `params.yaml` under the project's root describes, in its order."""
    return list(load_params(root / "params.yaml").processes)


def add_processes(instance: dg.DagsterInstance, process_ids: Sequence[str]) -> None:
    """Make partitions of the processes; those that are there already stay."""
    instance.add_dynamic_partitions("process", list(process_ids))
