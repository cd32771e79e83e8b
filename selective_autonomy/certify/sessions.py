"""The promise about whole sessions: at most alpha of them have a wrong executed critical step. Exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.certify.binomial import fewest_labels, most_wrong_allowed, upper_limit
from selective_autonomy.certify.certificate import Bound

METHOD = "clopper_pearson_monotone_sessions"


def certify_sessions(
    scores_N: NDArray[np.float64], wrong_N: NDArray[np.bool_], session_N: NDArray[np.int64], alpha: float, delta: float
) -> Bound:
    """The lowest threshold at which the share of sessions with a wrong executed step is at most alpha.

    Guarantee: P(true session risk at the threshold > alpha) <= delta, at every sample size.
    Assumption: sessions are independent draws of one population; steps inside a session may depend on each
    other in any way. Sees: calibrate only.

    The loss of a session can only grow as the threshold falls, so its risk is monotone and every score that
    occurs may serve as a cut without correction (as in risk-controlling prediction sets): only the first
    threshold whose true risk exceeds alpha could be passed wrongly. A session is lost at threshold t exactly
    if its highest scored wrong step has a score >= t, so one sort answers for all thresholds.

    Args:
        scores_N, wrong_N: critical steps. session_N: code of each step's session, in 0..S-1, every code used.
    """
    n = _count(session_N)
    allowed = most_wrong_allowed(n, alpha, delta)
    lost_at_S = _lost_at(scores_N, wrong_N, session_N)
    if allowed >= 0:
        # One session more than allowed is lost at this score; the threshold must stay above it.
        too_low = np.sort(lost_at_S)[::-1][allowed]
        candidates = scores_N[scores_N > too_low]
        if candidates.size:
            threshold = float(candidates.min())
            return session_bound(threshold, scores_N >= threshold, wrong_N, session_N, alpha, delta)
    lost = int((lost_at_S >= scores_N.max()).sum()) if n else 0
    needed = fewest_labels(lost / n if n else 0.0, alpha, delta)
    return refused_session_bound(n, alpha, delta, needed)


def session_bound(
    threshold: float,
    executed_N: NDArray[np.bool_],
    wrong_N: NDArray[np.bool_],
    session_N: NDArray[np.int64],
    alpha: float,
    delta: float,
) -> Bound:
    """What the calibrate split says about sessions when these steps execute, none below the certified threshold.

    Executing fewer steps loses no session that was not lost before, so the guarantee carries over: to stricter
    thresholds, and to slices that do not run at all. `n_executed`: sessions with an executed step; `upper` is over
    all n sessions, executed or not. `threshold`: the lowest at which any step executes.
    """
    n = _count(session_N)
    lost = np.unique(session_N[executed_N & wrong_N]).size
    return Bound(
        unit="session",
        method=METHOD,
        alpha=alpha,
        delta=delta,
        threshold=threshold,
        n=n,
        n_executed=np.unique(session_N[executed_N]).size,
        n_wrong=lost,
        upper=float(upper_limit(lost, n, delta)),
        coverage=float(executed_N.mean()),
    )


def refused_session_bound(n: int, alpha: float, delta: float, needed: int | None) -> Bound:
    """No promise about sessions. `needed`: labelled sessions that would do at the error seen, None: no number."""
    return Bound(
        unit="session",
        method=METHOD,
        alpha=alpha,
        delta=delta,
        threshold=None,
        n=n,
        n_executed=0,
        n_wrong=0,
        upper=None,
        coverage=0.0,
        refusal="error_too_high" if needed is None else "too_few_labels",
        labels_missing=None if needed is None else max(needed - n, 1),
    )


def _count(session_N: NDArray[np.int64]) -> int:
    return int(session_N.max()) + 1 if session_N.size else 0


def _lost_at(
    scores_N: NDArray[np.float64], wrong_N: NDArray[np.bool_], session_N: NDArray[np.int64]
) -> NDArray[np.float64]:
    """`lost_at_S`: the highest threshold at which each session is lost; -inf for one without a wrong step."""
    lost_at_S = np.full(_count(session_N), -np.inf)
    np.maximum.at(lost_at_S, session_N[wrong_N], scores_N[wrong_N])
    return lost_at_S
