"""The promise about steps: of the critical steps that run by themselves, at most alpha are wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.certify.binomial import fewest_labels
from selective_autonomy.certify.certificate import Bound
from selective_autonomy.certify.dependence import betting_upper, deflated_upper, intraclass_correlation
from selective_autonomy.certify.fixed_sequence import passed_both_ways, passed_in_order, surest_cut

StepTest = Literal["deflated", "betting"]
_MOST_COPIES = 256  # the longest look ahead for labels missing: this many times the labels at hand


@dataclass(frozen=True)
class TestedCuts:
    """What each cut (strictest first) said, and which passed in order.

    `executed`, `wrong`: counts of steps, shape (C, S): cut by session. `expected`: share of wrong ones among the
    executed by the critic's own word, (C,), and `expected_upper` the limits that would give. `upper`: limits of the
    step risk, (C,). `start`: where the sequence began, None where no cut executes anything.
    """

    cuts: NDArray[np.float64]
    executed: NDArray[np.float64]
    wrong: NDArray[np.float64]
    expected: NDArray[np.float64]
    expected_upper: NDArray[np.float64]
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
    handed: float = 0.0,
) -> tuple[StepRisk, TestedCuts]:
    """Test "step risk at this cut <= alpha" for cuts in their fixed order.

    Guarantee: P(some passed cut has a true step risk > alpha) <= delta + handed as far as the single test holds it:
    `deflated`: exact for independent steps, approximately under clustering; `betting`: at every sample size.
    Assumptions: sessions are independent draws of one population; `cuts_C` was not chosen by labels.
    Sees: calibrate only.

    Args:
        session_N: codes in 0..S-1; their order must not depend on labels. cuts_C: strictly falling.
        both_ways: also test cuts stricter than the first one, where a stricter threshold may be asked for later.
        handed: delta that others have handed on (`selective_autonomy.certify.slices`); it serves the first cut and
            the laxer ones. The order of the cuts is that of `delta` alone: what is handed on depends on labels.
    """
    sessions = int(session_N.max()) + 1 if session_N.size else 0
    correlation = intraclass_correlation(wrong_N, session_N) if session_N.size else 0.0
    risk = StepRisk(test, alpha, delta + handed, correlation)
    # By the critic's own word 1 - p_accept of the executed steps are wrong. That, and no label, chooses the start; the
    # correlation is estimated from labels and stays out of it.
    blind = StepRisk(test, alpha, delta, 0.0)
    executed = np.zeros((cuts_C.size, sessions))
    wrong = np.zeros((cuts_C.size, sessions))
    upper_C = np.ones(cuts_C.size)
    expected_C, expected_upper_C = np.ones(cuts_C.size), np.ones(cuts_C.size)
    for c, cut in enumerate(cuts_C):
        executed_N = scores_N >= cut
        executed[c] = np.bincount(session_N[executed_N], minlength=sessions)
        wrong[c] = np.bincount(session_N[executed_N & wrong_N], minlength=sessions)
        upper_C[c] = risk.upper(executed[c], wrong[c])
        if executed_N.any():
            expected_C[c] = 1 - scores_N[executed_N].mean()
            expected_upper_C[c] = blind.upper(executed[c], executed[c] * expected_C[c])
    start = surest_cut(expected_upper_C)
    if not both_ways or start is None:
        passed = passed_in_order(upper_C, start, alpha)
        return risk, TestedCuts(cuts_C, executed, wrong, expected_C, expected_upper_C, upper_C, start, passed)
    stricter = StepRisk(test, alpha, delta / 2, correlation)
    laxer = StepRisk(test, alpha, delta / 2 + handed, correlation)
    for c in range(cuts_C.size):
        if c != start:
            upper_C[c] = (stricter if c < start else laxer).upper(executed[c], wrong[c])
    passed = passed_both_ways(upper_C, start, alpha)
    return risk, TestedCuts(cuts_C, executed, wrong, expected_C, expected_upper_C, upper_C, start, passed)


def step_bound(risk: StepRisk, tested: TestedCuts, n: int, *, at_least: float = 0.0) -> Bound:
    """The lowest cut that passed and is no lower than `at_least`, or a refusal with the number of labels missing.

    `n`: labelled critical steps. `at_least`: another promise's threshold; this one's risk was tested above it, too.
    """
    method = "fixed_sequence_" + ("korn_graubard" if risk.test == "deflated" else "betting")
    enough = [c for c in tested.passed if tested.cuts[c] >= at_least]
    if not enough:
        missing = _missing_above(risk, tested, n, at_least) if tested.passed else _labels_missing(risk, tested, n)
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
    last = enough[-1]
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


def _missing_above(risk: StepRisk, tested: TestedCuts, n: int, at_least: float) -> int | None:
    """About how many more labels would do at the error seen above `at_least`; None: no number, or nothing is there.

    Every cut that passed lies below: what little executes up there says too little.
    """
    above = np.flatnonzero(tested.cuts >= at_least)
    if not above.size or not tested.executed[above[-1]].any():
        return None
    executed, wrong = float(tested.executed[above[-1]].sum()), float(tested.wrong[above[-1]].sum())
    needed = fewest_labels(wrong / executed, risk.alpha, risk.delta)
    return None if needed is None else max(int(np.ceil(needed / executed * n)) - n, 1)


def _labels_missing(risk: StepRisk, tested: TestedCuts, n: int) -> int | None:
    """About how many more labelled steps would do at the error seen; None when no number would.

    Asked of more sessions like these (repeated in turn): how many until the cut that is then the surest passes? If
    that never happens, until any cut would.
    """
    if n == 0:
        return fewest_labels(0.0, risk.alpha, risk.delta)
    blind = StepRisk(risk.test, risk.alpha, risk.delta, 0.0)

    def passing(c: int, sessions: int) -> bool:
        executed_S, wrong_S = np.resize(tested.executed[c], sessions), np.resize(tested.wrong[c], sessions)
        return risk.upper(executed_S, wrong_S) <= risk.alpha

    def surest_passes(sessions: int) -> bool:
        more = [np.resize(executed_S, sessions) for executed_S in tested.executed]
        limits = [blind.upper(more_S, more_S * share) for more_S, share in zip(more, tested.expected, strict=True)]
        start = surest_cut(np.array(limits))
        return start is not None and passing(start, sessions)

    def any_passes(sessions: int) -> bool:
        return any(passing(c, sessions) for c in range(tested.cuts.size))

    seen = int(tested.executed.shape[1])
    needed = _fewest_sessions(surest_passes, seen)
    if needed is None:
        needed = _fewest_sessions(any_passes, seen)
    return None if needed is None else max(round((needed / seen - 1) * n), 1)


def _fewest_sessions(passes: Callable[[int], bool], seen: int) -> int | None:
    """About the fewest sessions that pass, by doubling and halving; None: not even the longest look ahead does."""
    too_few, enough = 0, seen
    while not passes(enough):
        too_few, enough = enough, enough * 2
        if enough > _MOST_COPIES * seen:
            return None
    while enough - too_few > max(1, enough // 50):
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if passes(middle) else (middle, enough)
    return enough
