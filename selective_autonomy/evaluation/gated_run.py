"""What the gated system did on new cases, beside an all-human control on the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.intervals import Figure, ratio_interval
from selective_autonomy.frozen import Frozen


class ArmCase(Frozen):
    """One case in one arm, as the desk's truth sees it afterwards.

    Args:
        critical_steps: gated steps, executed and deferred.
        executed_steps: critical steps that ran by themselves; `wrong_executed`: those of them that were wrong.
        routine_executed, routine_wrong: the same of routine steps, which no score gates.
        touched: a person worked or confirmed at least one step.
        active_seconds: operator seconds on the case.
        solved: the customer's matter ended as it should.
    """

    case_id: str
    critical_steps: int
    executed_steps: int
    wrong_executed: int
    routine_executed: int
    routine_wrong: int
    touched: bool
    active_seconds: float
    solved: bool


class GatedRunSummary(Frozen):
    """Shares are in [0, 1]; `active_seconds_change` is relative to the human arm (-0.39: 39 % less).

    `true_risk` is over executed critical steps, `routine_risk` over executed routine ones; `session_risk` is the share
    of sessions with a wrong executed step of either kind, `session_risk_gated` with a critical one: what is promised.
    """

    sessions: int
    session_coverage: Figure
    step_coverage: Figure
    true_risk: Figure
    session_risk: Figure
    session_risk_gated: Figure
    routine_risk: Figure
    active_seconds_human: Figure
    active_seconds_selective: Figure
    active_seconds_change: Figure
    outcome_quality_difference: Figure
    steps_executed: int
    steps_deferred: int


def summarise(human: Sequence[ArmCase], selective: Sequence[ArmCase], *, seed: int) -> GatedRunSummary:
    """Compare the arms case by case; intervals by bootstrap over cases (paired: a case keeps both arms).

    A share of nothing (no step executed, so no risk to speak of) is nan with the interval [0, 1].

    Raises:
        SplitError: the arms hold different cases, or none.
    """
    by_id = {case.case_id: case for case in human}
    if not selective or set(by_id) != {case.case_id for case in selective}:
        raise SplitError(
            f"the arms hold different cases ({len(by_id)} human, {len(selective)} selective); "
            "work the same, non-empty set of cases in both"
        )
    controls = [by_id[case.case_id] for case in selective]
    executed_S = np.array([c.executed_steps for c in selective], dtype=float)
    wrong_S = np.array([c.wrong_executed for c in selective], dtype=float)
    critical_S = np.array([c.critical_steps for c in selective], dtype=float)
    routine_S = np.array([c.routine_executed for c in selective], dtype=float)
    routine_wrong_S = np.array([c.routine_wrong for c in selective], dtype=float)
    alone_S = np.array([not c.touched for c in selective], dtype=float)
    seconds_S = np.array([c.active_seconds for c in selective])
    human_seconds_S = np.array([c.active_seconds for c in controls])
    quality_S = np.array([float(c.solved) for c in selective]) - np.array([float(c.solved) for c in controls])
    one_S = np.ones(len(selective))
    change = ratio_interval(seconds_S, human_seconds_S, seed=seed)

    def ratio(top_S: NDArray[np.float64], bottom_S: NDArray[np.float64] = one_S) -> Figure:
        return ratio_interval(top_S, bottom_S, seed=seed)

    quality = ratio(quality_S)
    if not quality_S.any():  # no case ended differently: what is left open lies on both sides
        quality = quality.model_copy(update={"low": -quality.high})
    return GatedRunSummary(
        sessions=len(selective),
        session_coverage=ratio(alone_S),
        step_coverage=ratio(executed_S, critical_S),
        true_risk=ratio(wrong_S, executed_S),
        session_risk=ratio((wrong_S + routine_wrong_S > 0).astype(float)),
        session_risk_gated=ratio((wrong_S > 0).astype(float)),
        routine_risk=ratio(routine_wrong_S, routine_S),
        active_seconds_human=ratio(human_seconds_S),
        active_seconds_selective=ratio(seconds_S),
        active_seconds_change=change.model_copy(
            update={"value": change.value - 1, "low": change.low - 1, "high": change.high - 1, "n": len(selective)}
        ),
        outcome_quality_difference=quality,
        steps_executed=int(executed_S.sum()),
        steps_deferred=int((critical_S - executed_S).sum()),
    )
