"""The promise about steps: of the critical steps that run by themselves, at most alpha are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.certify.binomial import fewest_labels
from selective_autonomy.certify.certificate import Bound
from selective_autonomy.certify.dependence import betting_upper, deflated_upper, intraclass_correlation
from selective_autonomy.certify.fixed_sequence import first_worth_testing, passed_both_ways, passed_in_order

StepTest = Literal["deflated", "betting"]
# Shares of alpha that the first cut is hoped to have wrong, for the choice of where to start. Coverage certified
# in 150 resamples of STAR at alpha 0.10 / 0.20, 354 sessions: first hope 0 (any cut that can pass at all) 0.14 /
# 0.45, 0.65: 0.14 / 0.45, 0.8: 0.18 / 0.45; 100 sessions: 0: 0.07 / 0.34, 0.65: 0.07 / 0.39, 0.8: 0.00 / 0.40.
_HOPES = (0.65, 0.4, 0.0)
_MOST_COPIES = 4096  # the longest look ahead for labels missing: this many times the labels at hand


@dataclass(frozen=True)
class TestedCuts:
    """What each cut (strictest first) said, and which passed in order.

    `executed`, `wrong`: counts of steps, shape (C, S): cut by session. `upper`: limits of the step risk, (C,).
    `start`: where the sequence began, None where no cut had enough executed steps.
    """

    cuts: NDArray[np.float64]
    executed: NDArray[np.float64]
    wrong: NDArray[np.float64]
    upper: NDArray[np.float64]
    start: int | None
    passed: list[int]


@dataclass(frozen=True)
class StepRisk:
    """The single test of "step risk <= alpha": `upper` of the risk given counts for each session."""

    test: StepTest
    alpha: float
    delta: float
    correlation: float

    def upper(self, executed_S: NDArray[np.float64], wrong_S: NDArray[np.float64]) -> float:
        if self.test == "betting":
            return betting_upper(executed_S, wrong_S, self.alpha, self.delta)
        return deflated_upper(executed_S, wrong_S, self.correlation, self.delta)


def pass_cuts(
    scores_N: NDArray[np.float64],
    wrong_N: NDArray[np.bool_],
    session_N: NDArray[np.int64],
    cuts_C: NDArray[np.float64],
    alpha: float,
    delta: float,
    test: StepTest,
    *,
    both_ways: bool = False,
) -> tuple[StepRisk, TestedCuts]:
    """Test "step risk at this cut <= alpha" for cuts in their fixed order.

    Guarantee: P(some passed cut has a true step risk > alpha) <= delta as far as the single test holds it:
    `deflated`: exact for independent steps, approximately under clustering; `betting`: at every sample size.
    Assumptions: sessions are independent draws of one population; `cuts_C` was not chosen by labels.
    Sees: calibrate only.

    Args:
        session_N: codes in 0..S-1; their order must not depend on labels. cuts_C: strictly falling.
        both_ways: also test cuts stricter than the first one, where a stricter threshold may be asked for later.
    """
    sessions = int(session_N.max()) + 1 if session_N.size else 0
    risk = StepRisk(test, alpha, delta, intraclass_correlation(wrong_N, session_N) if session_N.size else 0.0)
    # The correlation is estimated from labels, which the choice of the start must not see.
    blind = StepRisk(test, alpha, delta, 0.0)
    executed = np.zeros((cuts_C.size, sessions))
    wrong = np.zeros((cuts_C.size, sessions))
    upper_C = np.ones(cuts_C.size)
    hoped_HC = np.ones((len(_HOPES), cuts_C.size))
    for c, cut in enumerate(cuts_C):
        executed_N = scores_N >= cut
        executed[c] = np.bincount(session_N[executed_N], minlength=sessions)
        wrong[c] = np.bincount(session_N[executed_N & wrong_N], minlength=sessions)
        upper_C[c] = risk.upper(executed[c], wrong[c])
        hoped_HC[:, c] = [blind.upper(executed[c], hope * alpha * executed[c]) for hope in _HOPES]
    start = first_worth_testing(hoped_HC, alpha)
    if not both_ways or start is None:
        return risk, TestedCuts(cuts_C, executed, wrong, upper_C, start, passed_in_order(upper_C, start, alpha))
    halved = StepRisk(test, alpha, delta / 2, risk.correlation)
    for c in range(cuts_C.size):
        if c != start:
            upper_C[c] = halved.upper(executed[c], wrong[c])
    return risk, TestedCuts(cuts_C, executed, wrong, upper_C, start, passed_both_ways(upper_C, start, alpha))


def step_bound(risk: StepRisk, tested: TestedCuts, n: int) -> Bound:
    """The lowest cut that passed, or a refusal with the number of labels missing. `n`: labelled critical steps."""
    method = "fixed_sequence_" + ("korn_graubard" if risk.test == "deflated" else "betting")
    if not tested.passed:
        missing = _labels_missing(risk, tested, n)
        return Bound(
            unit="step",
            method=method,
            alpha=risk.alpha,
            delta=risk.delta,
            threshold=None,
            n=n,
            n_executed=0,
            n_wrong=0,
            upper=None,
            coverage=0.0,
            refusal="error_too_high" if missing is None else "too_few_labels",
            labels_missing=missing,
        )
    last = tested.passed[-1]
    executed = int(tested.executed[last].sum())
    return Bound(
        unit="step",
        method=method,
        alpha=risk.alpha,
        delta=risk.delta,
        threshold=float(tested.cuts[last]),
        n=n,
        n_executed=executed,
        n_wrong=int(tested.wrong[last].sum()),
        upper=float(tested.upper[last]),
        coverage=executed / n,
    )


def _labels_missing(risk: StepRisk, tested: TestedCuts, n: int) -> int | None:
    """About how many more labelled steps would do at the error seen; None when no number would.

    Asked of the cut that stopped the sequence, or else of any cut: how many copies of these sessions pass?
    """
    if n == 0:
        return fewest_labels(0.0, risk.alpha, risk.delta)
    stopped_at = [] if tested.start is None else [tested.start]
    for cuts in (stopped_at, range(tested.cuts.size)):
        needed = [_sessions_needed(risk, tested.executed[c], tested.wrong[c]) for c in cuts]
        possible = [sessions for sessions in needed if sessions is not None]
        if possible:
            return max(round((min(possible) / int(tested.executed.shape[1]) - 1) * n), 1)
    return None


def _sessions_needed(risk: StepRisk, executed_S: NDArray[np.float64], wrong_S: NDArray[np.float64]) -> int | None:
    """How many sessions like these (repeated in turn) would pass; None: not even the longest look ahead."""
    if wrong_S.sum() >= risk.alpha * executed_S.sum():
        return None

    def passes(sessions: int) -> bool:
        return risk.upper(np.resize(executed_S, sessions), np.resize(wrong_S, sessions)) <= risk.alpha

    too_few, enough = 0, int(executed_S.size)
    while not passes(enough):
        too_few, enough = enough, enough * 2
        if enough > _MOST_COPIES * executed_S.size:
            return None
    while enough - too_few > max(1, enough // 50):
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if passes(middle) else (middle, enough)
    return int(enough)
