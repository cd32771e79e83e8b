"""`bench golive`, small: every way to use audits, and forecasts of what will be certified and of what never will."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from dagster_project.bench.golive import ARMS, NEVER, _picture, forecast_table, recertified_table, run_golive_bench


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("golive")
    found = run_golive_bench(root=root, state=root / "state", console=Console(), small=True)
    assert not list(root.rglob("*.json"))  # a quick look is no evidence
    return found


def test_audits_keep_the_promise_at_any_rate_and_taking_the_undisputed_for_right_breaks_it(
    results: dict[str, Any],
) -> None:
    arms = results["recertified"]
    assert set(arms) == {arm.name for arm in ARMS}
    for arm in arms.values():
        assert arm["broken"]["value"] == (1.0 if arm["use"] == "undisputed" else 0.0)
        assert 0.3 < arm["coverage"]["value"] < 1
        assert len(arm["coverage_by_day"]) == results["days"]
    audits = [arm["audits_a_day"]["value"] for arm in arms.values() if arm["use"] == "weighted"]
    assert audits[0] > 4 * audits[1] > 12 * audits[2] > 0


def test_a_day_is_foreseen_where_one_comes_and_none_where_none_does(results: dict[str, Any]) -> None:
    possible, never = results["forecast"].values()
    assert possible["certified"] == possible["streams"] == 1
    assert possible["named"]["value"] > 0
    assert 0 <= possible["covered"]["value"] <= 1
    assert len(possible["points"]) == possible["forecasts"]
    assert never["certified"] == 0
    assert never["named"]["value"] == 0


def test_the_tables_have_a_row_an_arm_and_a_row_a_kind_of_stream(results: dict[str, Any]) -> None:
    console = Console(width=200, record=True)
    console.print(recertified_table(results))
    console.print(forecast_table(results))
    said = console.export_text()
    assert all(arm.name in said for arm in ARMS)
    assert NEVER.name in said


def test_the_picture_is_drawn(results: dict[str, Any]) -> None:
    assert _picture(results).startswith(b"\x89PNG")
