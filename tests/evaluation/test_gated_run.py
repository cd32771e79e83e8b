"""The demo's table: arms compared case by case, with intervals that hold their value."""

from __future__ import annotations

import math

import numpy as np
import pytest

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.gated_run import ArmCase, summarise
from selective_autonomy.evaluation.intervals import statistic_interval
from selective_autonomy.evaluation.metrics import ece


def arm_case(number: int, **facts: object) -> ArmCase:
    plain = {
        "critical_steps": 10,
        "executed_steps": 0,
        "wrong_executed": 0,
        "routine_executed": 2,
        "routine_wrong": 0,
        "touched": True,
        "active_seconds": 200.0,
    }
    return ArmCase.model_validate({"case_id": f"new-{number}", "solved": True, **plain, **facts})


def test_shares_and_seconds_are_ratios_of_sums_over_the_same_cases() -> None:
    human = [arm_case(i, active_seconds=100.0 + 10 * i) for i in range(40)]
    selective = [
        arm_case(
            i, executed_steps=5 if i % 2 else 10, wrong_executed=i % 4 == 1, touched=bool(i % 2), active_seconds=90.0
        )
        for i in range(40)
    ]
    got = summarise(human, selective, seed=1)
    assert got.session_coverage.value == 0.5
    assert got.step_coverage.value == pytest.approx(300 / 400)
    assert got.true_risk.value == pytest.approx(10 / 300)
    assert got.session_risk.value == pytest.approx(10 / 40)
    assert got.active_seconds_change.value == pytest.approx(90 * 40 / sum(100 + 10 * i for i in range(40)) - 1)
    assert (got.steps_executed, got.steps_deferred) == (300, 100)
    for figure in (got.session_coverage, got.true_risk, got.active_seconds_change):
        assert figure.low < figure.value < figure.high


def test_without_an_executed_step_there_is_no_risk_to_speak_of() -> None:
    cases = [arm_case(i) for i in range(5)]
    got = summarise(cases, cases, seed=1)
    assert math.isnan(got.true_risk.value)
    assert (got.true_risk.low, got.true_risk.high) == (0.0, 1.0)
    assert got.step_coverage.value == 0.0
    assert got.step_coverage.high > 0.1


def test_equal_outcomes_leave_a_difference_open_on_both_sides() -> None:
    cases = [arm_case(i) for i in range(30)]
    got = summarise(cases, cases, seed=1).outcome_quality_difference
    assert got.value == 0.0
    assert got.low == -got.high < 0


def test_arms_with_different_cases_are_refused() -> None:
    with pytest.raises(SplitError, match="different cases"):
        summarise([arm_case(1)], [arm_case(2)], seed=1)
    with pytest.raises(SplitError, match="different cases"):
        summarise([], [], seed=1)


def test_an_interval_of_a_statistic_that_resampling_inflates_still_holds_its_value() -> None:
    rng = np.random.default_rng(5)
    p_N = rng.uniform(size=4000)
    right_N = rng.uniform(size=4000) < p_N
    got = statistic_interval(lambda w: ece(p_N, right_N, w), [str(i // 10) for i in range(4000)], seed=2)
    assert got.low < got.value < got.high
