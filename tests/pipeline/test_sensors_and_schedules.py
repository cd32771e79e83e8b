"""What starts by itself: new trace files, new processes, monitoring by the clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from project import make_project

from dagster_project.instance import open_instance
from dagster_project.partitions import add_processes
from dagster_project.resources.workspace import Workspace
from dagster_project.schedules import daily_monitoring
from dagster_project.sensors.new_traces import new_trace_files, processes_as_partitions


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = make_project(tmp_path / "bank")
    return Workspace(root=str(root), state=str(root / ".state"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def look(instance: dg.DagsterInstance, workspace: Workspace, cursor: str | None) -> dg.SensorResult:
    return new_trace_files(dg.build_sensor_context(instance=instance, cursor=cursor), workspace=workspace)


def test_changed_trace_files_start_the_loop_of_their_process_once(
    instance: dg.DagsterInstance, workspace: Workspace
) -> None:
    add_processes(instance, ["bank"])
    first = look(instance, workspace, None)
    assert first.run_requests == []
    assert look(instance, workspace, first.cursor).run_requests == []
    with (Path(workspace.root) / "data" / "raw" / "bank" / "sessions.jsonl").open("a") as raw:
        raw.write("\n")
    second = look(instance, workspace, first.cursor)
    assert [request.partition_key for request in second.run_requests] == ["bank"]
    assert look(instance, workspace, second.cursor).run_requests == []


def test_a_process_of_params_yaml_becomes_a_partition(instance: dg.DagsterInstance, workspace: Workspace) -> None:
    context = dg.build_sensor_context(instance=instance)
    (request,) = processes_as_partitions(context, workspace=workspace).dynamic_partitions_requests
    assert request.partition_keys == ["bank"]
    add_processes(instance, ["bank"])
    assert not processes_as_partitions(context, workspace=workspace).dynamic_partitions_requests


def test_monitoring_runs_once_a_day_for_every_process_with_a_critic(tmp_path: Path) -> None:
    at = datetime(2024, 6, 1, 5, 0, tzinfo=UTC)
    with open_instance(tmp_path) as instance:
        add_processes(instance, ["bank", "new"])
        instance.report_runless_asset_event(dg.AssetMaterialization("critic", partition="bank"))
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at)
        requests = list(daily_monitoring(context))
    assert [(one.partition_key, one.run_key) for one in requests] == [("bank", "bank:2024-06-01")]
