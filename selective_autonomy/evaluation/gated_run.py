"""What the gated system did on new cases, beside an all-human control on the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.errors import SplitError
from selective_autonomy.frozen import Frozen


class ArmCase(Frozen):
    """One case in one arm, as the desk's truth sees it afterwards.

    Args:
        critical_steps: gated steps, executed and deferred.
        executed_steps: critical steps that ran by themselves; `wrong_executed`: those of them that were wrong.
        touched: a person worked or confirmed at least one step.
        active_seconds: operator seconds on the case.
        solved: the customer's matter ended as it should.
    """

    case_id: str
    critical_steps: int
    executed_steps: int
    wrong_executed: int
    touched: bool
    active_seconds: float
    solved: bool


class Figure(Frozen):
    """A measured number with its 95 % interval and the number of units behind it."""

    value: float
    low: float
    high: float
    n: int


class GatedRunSummary(Frozen):
    """Shares are in [0, 1]; `active_seconds_change` is relative to the human arm (-0.39: 39 % less)."""

    sessions: int
    session_coverage: Figure
    step_coverage: Figure
    true_risk: Figure
    session_risk: Figure
    active_seconds_human: Figure
    active_seconds_selective: Figure
    active_seconds_change: Figure
    outcome_quality_difference: Figure
    steps_executed: int
    steps_deferred: int


def summarise(
    human: Sequence[ArmCase], selective: Sequence[ArmCase], *, seed: int, draws: int = 4000
) -> GatedRunSummary:
    """Compare the arms case by case; intervals by bootstrap over cases (paired: a case keeps both arms).

    The bootstrap interval of a share that is 0 or 1 in the sample would have no width; there the exact
    Clopper–Pearson limit stands in.

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
    alone_S = np.array([not c.touched for c in selective], dtype=float)
    seconds_S = np.array([c.active_seconds for c in selective])
    human_seconds_S = np.array([c.active_seconds for c in controls])
    quality_S = np.array([float(c.solved) for c in selective]) - np.array([float(c.solved) for c in controls])
    one_S = np.ones(len(selective))
    rng = np.random.default_rng(seed)
    draws_DS = rng.integers(0, len(selective), size=(draws, len(selective)))

    def ratio(top_S: NDArray[np.float64], bottom_S: NDArray[np.float64], *, minus: float = 0.0) -> Figure:
        return _ratio(top_S, bottom_S, draws_DS, minus)

    return GatedRunSummary(
        sessions=len(selective),
        session_coverage=ratio(alone_S, one_S),
        step_coverage=ratio(executed_S, critical_S),
        true_risk=ratio(wrong_S, executed_S),
        session_risk=ratio((wrong_S > 0).astype(float), one_S),
        active_seconds_human=ratio(human_seconds_S, one_S),
        active_seconds_selective=ratio(seconds_S, one_S),
        active_seconds_change=ratio(seconds_S, human_seconds_S, minus=1.0),
        outcome_quality_difference=ratio(quality_S, one_S),
        steps_executed=int(executed_S.sum()),
        steps_deferred=int((critical_S - executed_S).sum()),
    )


def _ratio(
    top_S: NDArray[np.float64], bottom_S: NDArray[np.float64], draws_DS: NDArray[np.int64], minus: float
) -> Figure:
    """Ratio of sums with its percentile bootstrap interval; 0 with the vacuous interval [0, 1] for an empty bottom."""
    total = float(bottom_S.sum())
    if total == 0:
        return Figure(value=0.0, low=0.0, high=1.0, n=0)
    value = float(top_S.sum()) / total
    bottoms_D = bottom_S[draws_DS].sum(axis=1)
    ratios_D = top_S[draws_DS].sum(axis=1)[bottoms_D > 0] / bottoms_D[bottoms_D > 0]
    low, high = (float(q) for q in np.quantile(ratios_D, [0.025, 0.975]))
    if low == high and value in (0.0, 1.0):
        limit = 1 - 0.025 ** (1 / len(top_S))  # Clopper–Pearson at 0 or n successes, cases as units
        low, high = (0.0, limit) if value == 0.0 else (1 - limit, 1.0)
    return Figure(value=value - minus, low=low - minus, high=high - minus, n=int(total) if minus == 0 else len(top_S))
