"""The gate's truth table: Execute needs positive proof of everything."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selective_autonomy.gate import Defer, DeferReason, Execute, Stage, decide

PROVEN: dict[str, Any] = {
    "p_accept": 0.95,
    "threshold": 0.9,
    "tier": "critical",
    "legal": True,
    "procedures_certified": True,
    "stage": "selective",
    "stopped": False,
}


def reason(**changed: Any) -> str | None:
    decision = decide(**{**PROVEN, **changed})
    return decision.reason if isinstance(decision, Defer) else None


def test_a_proven_step_executes() -> None:
    assert decide(**PROVEN) == Execute()


def test_a_score_equal_to_the_threshold_executes() -> None:
    assert decide(**{**PROVEN, "p_accept": 0.9}) == Execute()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"stopped": True}, "stopped"),
        ({"legal": False}, "illegal_action"),
        ({"legal": None}, "illegal_action"),
        ({"legal": 1}, "illegal_action"),
        ({"stage": "logging"}, "stage_not_selective"),
        ({"stage": "copilot"}, "stage_not_selective"),
        ({"stage": "calibration"}, "stage_not_selective"),
        ({"procedures_certified": False}, "uncertified_procedure"),
        ({"procedures_certified": None}, "uncertified_procedure"),
        ({"threshold": None}, "no_threshold"),
        ({"threshold": math.nan}, "no_threshold"),
        ({"threshold": math.inf}, "no_threshold"),
        ({"threshold": -math.inf}, "no_threshold"),
        ({"p_accept": None}, "invalid_score"),
        ({"p_accept": math.nan}, "invalid_score"),
        ({"p_accept": math.inf}, "invalid_score"),
        ({"p_accept": 1.0000001}, "invalid_score"),
        ({"p_accept": -0.1}, "invalid_score"),
        ({"p_accept": math.nextafter(0.9, 0)}, "below_threshold"),
    ],
)
def test_one_missing_proof_defers_and_says_which(changed: dict[str, Any], expected: str) -> None:
    assert reason(**changed) == expected


def test_the_kill_switch_comes_before_every_other_reason() -> None:
    assert reason(stopped=True, legal=False, p_accept=math.nan, threshold=None) == "stopped"


def test_a_routine_step_needs_no_score_where_something_is_certified() -> None:
    assert decide(**{**PROVEN, "p_accept": None, "tier": "routine"}) == Execute()


@pytest.mark.parametrize("nothing", [None, math.nan, "0.9", True])
def test_what_is_no_number_between_0_and_1_is_no_threshold_and_no_score(nothing: Any) -> None:
    assert reason(threshold=nothing) == "no_threshold"
    assert reason(p_accept=nothing) == "invalid_score"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"stage": "logging"}, "stage_not_selective"),
        ({"stage": "copilot"}, "stage_not_selective"),
        ({"procedures_certified": False}, "uncertified_procedure"),
        ({"threshold": None}, "no_threshold"),
        ({"legal": False}, "illegal_action"),
        ({"stopped": True}, "stopped"),
    ],
)
def test_a_routine_step_still_obeys_stage_screen_certificate_and_kill_switch(
    changed: dict[str, Any], expected: str
) -> None:
    assert reason(tier="routine", **changed) == expected


@given(
    p_accept=st.none() | st.floats(),
    threshold=st.none() | st.floats(),
    tier=st.sampled_from(["routine", "critical"]),
    legal=st.booleans(),
    known=st.booleans(),
    stage=st.sampled_from(get_args(Stage)),
    stopped=st.booleans(),
)
def test_the_gate_is_total_and_executes_only_on_proof(
    p_accept: float | None, threshold: float | None, tier: Any, legal: bool, known: bool, stage: Stage, stopped: bool
) -> None:
    decision = decide(
        p_accept=p_accept,
        threshold=threshold,
        tier=tier,
        legal=legal,
        procedures_certified=known,
        stage=stage,
        stopped=stopped,
    )
    certified = stage == "selective" and known and threshold is not None and 0 <= threshold <= 1
    scored = certified and p_accept is not None and 0 <= p_accept <= 1 and p_accept >= threshold
    assert isinstance(decision, Execute) == (legal and not stopped and (scored or (certified and tier == "routine")))
    assert isinstance(decision, Execute) or decision.reason in get_args(DeferReason)


def test_importing_the_gate_loads_no_torch() -> None:
    heavy = ("torch", "transformers", "lightgbm", "sklearn")
    code = f"import sys, selective_autonomy.gate; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
