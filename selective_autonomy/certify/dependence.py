"""Upper limits of the step risk when the steps of a session are not independent of each other.

The risk promised is E[wrong steps executed in a session] / E[steps executed in a session]: the share of
wrong ones among all executed steps. Two limits of it, with the session as the independent unit:

`deflated_upper`   Clopper–Pearson on effective counts (Korn & Graubard 1998): approximately valid.
`betting_upper`    a test by betting on whole sessions: valid at every sample size, at a cost in coverage.

Measured over 400 draws each at true risk = alpha = 0.10, delta 0.05, 1 to 9 executed steps a session (share
of draws that break the promise; then share certified at true risk 0.07 with 350 sessions):

    errors inside a session          plain      deflated   betting    certified plain / deflated / betting
    independent, 350 sessions        0.052      0.045      0.000      1.00 / 1.00 / 0.93
    correlation 0.1, 350 sessions    0.100      0.045      0.013      0.98 / 0.95 / 0.85
    correlation 0.3, 100 sessions    0.165      0.043      0.000
    5 % of sessions all wrong, 350   0.225      0.058      0.028      0.89 / 0.58 / 0.37
    5 % of sessions all wrong, 30    0.177      0.122      0.000      (betting certifies nothing from 30)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from selective_autonomy.certify.betting import BOLD_SHARES, BOLDEST, halving_stakes, log_total
from selective_autonomy.certify.binomial import upper_limit


def intraclass_correlation(wrong_N: NDArray[np.bool_], session_N: NDArray[np.int64]) -> float:
    """Correlation of the errors of two steps of one session (ANOVA estimator), at least 0. Sees: calibrate.

    0.0 where it is not defined: fewer than two sessions, no session with two steps, or all labels equal.
    """
    m_S = np.bincount(session_N).astype(np.float64)
    n, sessions = wrong_N.size, m_S.size
    if sessions < 2 or n <= sessions or wrong_N.all() or not wrong_N.any():
        return 0.0
    share_S = np.bincount(session_N, weights=wrong_N) / m_S
    between = float((m_S * (share_S - wrong_N.mean()) ** 2).sum() / (sessions - 1))
    within = float((m_S * share_S * (1 - share_S)).sum() / (n - sessions))
    typical = (n - float((m_S**2).sum()) / n) / (sessions - 1)
    return max(0.0, (between - within) / (between + (typical - 1) * within))


def design_effect(executed_S: NDArray[np.float64], wrong_S: NDArray[np.float64], correlation: float) -> float:
    """How many times larger the variance of the error share is than among independent steps; at least 1.

    The larger of two estimates: the linearised variance between sessions at this cut, and
    1 + (size - 1) * correlation with the correlation over all labelled steps, for at a strict cut with a
    handful of errors the former is mostly noise (with none it is 0).
    """
    executed, wrong = float(executed_S.sum()), float(wrong_S.sum())
    if executed == 0:
        return 1.0
    sessions = int((executed_S > 0).sum())
    share = wrong / executed
    size = float((executed_S**2).sum()) / executed
    modelled = 1 + (size - 1) * correlation
    seen = 1.0
    if sessions > 1 and 0 < share < 1:
        residual_S = wrong_S - share * executed_S
        variance = sessions / (sessions - 1) * float((residual_S**2).sum()) / executed**2
        seen = variance / (share * (1 - share) / executed)
    return max(1.0, modelled, seen)


def deflated_upper(
    executed_S: NDArray[np.float64], wrong_S: NDArray[np.float64], correlation: float, delta: float
) -> float:
    """Korn–Graubard upper limit of the step risk: Clopper–Pearson on n / design effect, k / design effect.

    Guarantee: exact when steps are independent (the design effect is never taken below 1); approximately
    valid when they are clustered, for the design effect is estimated. The t-quantile ratio pays for
    estimating it from few sessions. Sees: calibrate only.

    Args:
        executed_S, wrong_S: executed steps and wrong ones among them, for each session (zeros allowed).
    """
    executed, wrong = float(executed_S.sum()), float(wrong_S.sum())
    sessions = int((executed_S > 0).sum())
    if executed == 0:
        return 1.0
    if sessions == 1:
        # One session says nothing about others: count it as one unit.
        return float(upper_limit(wrong / executed, 1, delta))
    effect = design_effect(executed_S, wrong_S, correlation)
    if effect > 1 and executed > 1:
        by_step, by_session = stdtrit(executed - 1, 1 - delta), stdtrit(sessions - 1, 1 - delta)
        effect *= float((by_session / by_step) ** 2)
    n = max(executed / max(effect, 1.0), 1.0)
    return float(upper_limit(wrong / executed * n, n, delta))


def betting_upper(executed_S: NDArray[np.float64], wrong_S: NDArray[np.float64], alpha: float, delta: float) -> float:
    """An upper limit of the step risk that is at most alpha only if betting rejects "risk >= alpha".

    Guarantee: P(the answer is <= alpha although the risk is >= alpha) <= delta, at every sample size
    (Ville's inequality), whatever the dependence inside sessions.
    Assumptions: sessions are independent draws, given in an order that does not depend on their labels;
    no session of the population executes more steps than the most seen here. Sees: calibrate only.

    Between alpha and the share seen the answer is found by bisection (the capital against a larger risk is larger, so
    that no limit is looked at twice); 1.0 when not rejected. Labels of a random share: `certify.weights`.
    """
    if not _betting_rejects(executed_S, wrong_S, alpha, delta):
        return 1.0
    low, high = float(wrong_S.sum() / executed_S.sum()), alpha
    for _ in range(8):
        middle = (low + high) / 2
        if _betting_rejects(executed_S, wrong_S, middle, delta):
            high = middle
        else:
            low = middle
    return high


def _betting_rejects(executed_S: NDArray[np.float64], wrong_S: NDArray[np.float64], risk: float, delta: float) -> bool:
    """Bet on sessions one after another against "E[wrong - risk * executed] >= 0"; True: capital 1 / delta.

    No stake can lose all in one session, even if each of its steps is wrong.
    """
    most = float(executed_S.max(initial=0.0))
    if most == 0:
        return False
    stakes = np.array(halving_stakes(BOLDEST / most))
    log_capitals_SB = np.cumsum(np.log1p(-np.outer(wrong_S - risk * executed_S, stakes)), axis=0)
    return bool(log_total(log_capitals_SB, BOLD_SHARES).max() >= -np.log(delta))
