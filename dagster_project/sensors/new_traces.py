"""New trace files, and new processes in params.yaml, noticed from outside Dagster."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from dagster_project.partitions import PROCESS, known_processes
from dagster_project.resources.workspace import Workspace

RAW_OF_SOURCE = {"star": "star", "abcd": "abcd"}


@dg.sensor(job_name="whole_loop", minimum_interval_seconds=60)
def new_trace_files(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.SensorResult:
    """Starts the whole loop of a process whose files under data/raw have changed since it was last looked at."""
    seen: dict[str, str] = json.loads(context.cursor or "{}")
    now = {process_id: state for process_id, state in _raw_states(workspace) if state}
    requests = [
        dg.RunRequest(run_key=f"{process_id}:{state}", partition_key=process_id)
        for process_id, state in now.items()
        # The first look only remembers: what is there already was brought in by whoever put it there.
        if context.cursor and seen.get(process_id) != state
    ]
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(now, sort_keys=True))


@dg.sensor(minimum_interval_seconds=60, target=None)
def processes_as_partitions(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.SensorResult:
    """Makes a partition of every process that params.yaml describes."""
    there = set(context.instance.get_dynamic_partitions("process"))
    new = [process_id for process_id in known_processes(Path(workspace.root)) if process_id not in there]
    return dg.SensorResult(dynamic_partitions_requests=[PROCESS.build_add_request(new)] if new else [])


def _raw_states(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """(process, newest change and size of its raw files); "" where a process has none."""
    for process_id, params in workspace.params().processes.items():
        raw = Path(workspace.root) / "data" / "raw" / RAW_OF_SOURCE.get(params.source, process_id)
        stats = [file.stat() for file in raw.rglob("*") if file.is_file()]
        yield process_id, f"{max(s.st_mtime_ns for s in stats)}:{sum(s.st_size for s in stats)}" if stats else ""
