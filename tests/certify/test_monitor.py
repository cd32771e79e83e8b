"""The streaming monitor: few false alarms however long it runs, quick true ones, and nothing lost by a restart."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selective_autonomy.certify.monitor import MonitorState, RiskMonitor
from selective_autonomy.errors import CertificateError

ALPHA = 0.1


def ran(risk: float, steps: int, seed: int, *, share: float = 1.0, **kwargs: float) -> tuple[RiskMonitor, int | None]:
    """A monitor after so many executed steps, and after how many it raised the alarm."""
    monitor, rng = RiskMonitor(ALPHA, least_propensity=share, **kwargs), np.random.default_rng(seed)
    for step, (wrong, drawn) in enumerate(zip(rng.random(steps) < risk, rng.random(steps) < share, strict=True), 1):
        level = monitor.audited(bool(wrong), propensity=share) if drawn else monitor.unaudited()
        if level == "alarm":
            return monitor, step
    return monitor, None


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_at_the_promised_risk_there_is_an_alarm_in_at_most_delta_of_runs(share: float) -> None:
    runs, delta = 200, 0.1
    alarms = sum(ran(ALPHA, 1500, seed, share=share, delta=delta)[1] is not None for seed in range(runs))
    assert alarms / runs <= delta + 2 * math.sqrt(delta * (1 - delta) / runs)


def test_audits_of_the_riskier_steps_raise_no_false_alarm() -> None:
    """Half of the steps are wrong in 18 %, half in 2 %: 10 % is kept, though the former are audited more often."""
    runs, delta = 200, 0.1
    alarms = 0
    for seed in range(runs):
        monitor, rng = RiskMonitor(ALPHA, delta=delta, least_propensity=0.2), np.random.default_rng(seed)
        for risky in rng.random(1000) < 0.5:
            propensity = 0.8 if risky else 0.2
            if rng.random() < propensity:
                monitor.audited(bool(rng.random() < (0.18 if risky else 0.02)), propensity=propensity)
            else:
                monitor.unaudited()
        alarms += monitor.level == "alarm"
    assert alarms / runs <= delta + 2 * math.sqrt(delta * (1 - delta) / runs)


def test_a_broken_promise_is_found_the_sooner_the_worse_it_is() -> None:
    def median(risk: float) -> float:
        return float(np.median([ran(risk, 5000, seed)[1] or math.inf for seed in range(40)]))

    bad, worse, hopeless = median(0.2), median(0.4), median(1.0)
    assert hopeless <= 5
    assert hopeless < worse < 40
    assert worse < bad < 250


def test_a_warning_comes_before_the_alarm_and_an_alarm_stays() -> None:
    monitor = RiskMonitor(ALPHA, delta=0.001, warning_delta=0.2)
    levels = [monitor.audited(wrong=True) for _ in range(6)]
    assert levels == sorted(levels, key=["kept", "warning", "alarm"].index)
    assert set(levels) >= {"warning", "alarm"}
    assert {monitor.audited(wrong=False) for _ in range(500)} == {"alarm"}


def test_right_steps_alone_never_warn() -> None:
    monitor = RiskMonitor(ALPHA)
    assert {monitor.audited(wrong=False) for _ in range(2000)} == {"kept"}
    assert all(map(math.isfinite, monitor.state.log_capitals))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 1.0])), max_size=60), st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_a_restart_changes_nothing(steps: list[tuple[bool, float]], at: int) -> None:
    whole, torn = RiskMonitor(ALPHA, least_propensity=0.25), RiskMonitor(ALPHA, least_propensity=0.25)
    for n, (wrong, propensity) in enumerate(steps):
        if n == at:
            torn = RiskMonitor.of(MonitorState.model_validate_json(torn.state.model_dump_json()))
        for monitor in (whole, torn):
            if propensity:
                monitor.audited(wrong, propensity=propensity)
            else:
                monitor.unaudited()
    assert torn.state == whole.state
    assert (whole.state.executed, whole.state.audited) == (len(steps), sum(p > 0 for _, p in steps))


@pytest.mark.parametrize(
    "bad", [{"alpha": 0.0}, {"alpha": math.nan}, {"delta": 1.0}, {"delta": 0.2}, {"least_propensity": 0.0}]
)
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(CertificateError):
        RiskMonitor(**{"alpha": ALPHA, **bad})  # type: ignore[arg-type]


@pytest.mark.parametrize("propensity", [0.1, 0.0, -1.0, 1.5, math.nan])
def test_an_audit_that_the_monitor_was_not_made_for_is_refused_and_changes_nothing(propensity: float) -> None:
    monitor = RiskMonitor(ALPHA, least_propensity=0.5)
    before = monitor.state
    with pytest.raises(CertificateError, match="propensity"):
        monitor.audited(wrong=True, propensity=propensity)
    assert monitor.state == before


def test_a_damaged_state_is_refused() -> None:
    state = json.loads(RiskMonitor(ALPHA).state.model_dump_json())
    for damage in ({"log_capitals": [0.0]}, {"delta": 0.5, "warning_delta": 0.1}, {"executed": -1}):
        with pytest.raises(ValueError, match=r"capitals|warning|executed"):
            MonitorState.model_validate({**state, **damage})
