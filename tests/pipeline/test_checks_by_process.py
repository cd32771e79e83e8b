"""A check is judged for each process by itself, and what was never judged does not hold."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from tiny_bank import tiny_sessions

from dagster_project.checks.splits import split_result
from dagster_project.conventions import code_version, process_check
from dagster_project.instance import open_instance
from dagster_project.partitions import PROCESS, add_processes
from dagster_project.registry.standing_checks import failed_blocking
from dagster_project.telemetry import TELEMETRY_OFF, switch_off

CLAIM = process_check("claim_holds", "thing", "the claim", blocking=True)


@dg.asset(partitions_def=PROCESS, check_specs=[CLAIM])
def thing(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    yield dg.MaterializeResult()
    yield dg.AssetCheckResult(passed=context.partition_key == "good")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        add_processes(made, ["good", "bad"])
        yield made


def test_one_process_failing_a_check_says_nothing_about_another(instance: dg.DagsterInstance) -> None:
    for process_id in ("bad", "good"):
        dg.materialize([thing], instance=instance, partition_key=process_id, raise_on_error=False)
    assert failed_blocking(instance, [CLAIM], "good") == []
    assert failed_blocking(instance, [CLAIM], "bad") == ["thing:claim_holds"]


def test_a_check_that_was_never_evaluated_does_not_hold(instance: dg.DagsterInstance) -> None:
    assert failed_blocking(instance, [CLAIM], "good") == ["thing:claim_holds (never evaluated)"]


def test_one_log_on_two_sides_fails_the_split_check() -> None:
    sessions = tiny_sessions(4)
    sides = dict(zip((one.session_id for one in sessions), ("train", "fit", "calibrate", "test"), strict=True))
    assert split_result(sides, sessions).passed
    copied = sessions[0].model_copy(update={"session_id": sessions[3].session_id})
    failed = split_result(sides, [*sessions[:3], copied])
    assert not failed.passed
    assert "two sides" in str(failed.description)


def test_the_code_version_follows_the_source_and_an_unknown_source_is_an_error() -> None:
    assert code_version(("selective_autonomy/gate.py",)) != code_version(("selective_autonomy/decision.py",))
    with pytest.raises(FileNotFoundError):
        code_version(("selective_autonomy/no_such_part.py",))


def test_telemetry_is_off_whatever_the_environment_said(tmp_path: Path) -> None:
    environ = {"MLFLOW_DISABLE_TELEMETRY": "false"}
    switch_off(environ)
    assert environ == TELEMETRY_OFF
    with open_instance(tmp_path) as instance:
        assert instance.telemetry_enabled is False
