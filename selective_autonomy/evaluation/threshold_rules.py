"""Rules that others use to choose a threshold, as rivals of the certificate: same scores, same labels.

Each takes scores in [0, 1], which of them are wrong, the session of each, the allowed risk alpha and delta, and gives a
threshold to execute at or above, or None where the rule executes nothing. Only the certificate looks at sessions: the
others take steps for independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from selective_autonomy.certify.binomial import upper_limit
from selective_autonomy.certify.certify import certify
from selective_autonomy.certify.fixed_sequence import quantile_cuts
from selective_autonomy.params import CertificateParams

ThresholdRule = Callable[[NDArray[np.float64], NDArray[np.bool_], Sequence[str], float, float], float | None]
# Rivals do best with few cuts: Bonferroni and Holm pay for each, and a sequence from the strictest cut on ends at once
# where a cut holds too few steps. The certificate starts where the critic is surest, and loses nothing by many.
CUTS = 20
OWN_CUTS = 100


def naive(
    scores_N: NDArray[np.float64], wrong_N: NDArray[np.bool_], session_of_N: Sequence[str], alpha: float, delta: float
) -> float | None:
    """The lowest threshold whose error on these labels is at most alpha. No guarantee: it trusts luck."""
    order = np.argsort(-scores_N, kind="stable")
    error_N = np.cumsum(wrong_N[order]) / np.arange(1, scores_N.size + 1)
    passing = np.flatnonzero(error_N <= alpha)
    return float(scores_N[order[passing[-1]]]) if passing.size else None


def bonferroni(
    scores_N: NDArray[np.float64], wrong_N: NDArray[np.bool_], session_of_N: Sequence[str], alpha: float, delta: float
) -> float | None:
    """The lowest of 20 cuts whose Clopper–Pearson limit at delta / 20 is at most alpha. Guarantee: at delta."""
    cuts_C = quantile_cuts(scores_N, CUTS)
    executed_C = np.array([(scores_N >= cut).sum() for cut in cuts_C])
    wrong_C = np.array([wrong_N[scores_N >= cut].sum() for cut in cuts_C])
    passing = np.flatnonzero(upper_limit(wrong_C, executed_C, delta / cuts_C.size) <= alpha)
    return float(cuts_C[passing[-1]]) if passing.size else None


def sgr(
    scores_N: NDArray[np.float64], wrong_N: NDArray[np.bool_], session_of_N: Sequence[str], alpha: float, delta: float
) -> float | None:
    """Selection with guaranteed risk (Geifman & El-Yaniv 2017, algorithm 2). Guarantee: at delta.

    Bisects over the ranks of the scores; each of the ceil(log2 n) places looked at is tested at delta / ceil(log2 n).
    """
    n = scores_N.size
    ranked = np.argsort(scores_N, kind="stable")
    looks = max(1, math.ceil(math.log2(n)))
    low, high, found = 0, n - 1, None
    for _ in range(looks):
        middle = math.ceil((low + high) / 2)
        threshold = float(scores_N[ranked[middle]])
        executed = scores_N >= threshold
        if binom.cdf(wrong_N[executed].sum(), executed.sum(), alpha) <= delta / looks:
            found, high = threshold, middle
        else:
            low = middle
    return found


def certificate(
    scores_N: NDArray[np.float64], wrong_N: NDArray[np.bool_], session_of_N: Sequence[str], alpha: float, delta: float
) -> float | None:
    """The threshold of a step certificate."""
    return certify(
        scores_N,
        wrong_N,
        session_of_N,
        CertificateParams(alpha=alpha, alpha_session=None, delta=delta, cuts=OWN_CUTS),
        process_id="",
        loss="",
        splits={},
        policy_digest="",
        critic_digest="",
    ).threshold


RULES: dict[str, ThresholdRule] = {"naive": naive, "sgr": sgr, "bonferroni": bonferroni, "ours": certificate}
