"""Who accepts without reading: too many accepts too fast for anyone who looks at what is proposed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from selective_autonomy.certify.binomial import check_share
from selective_autonomy.certify.multiplicity import holm
from selective_autonomy.errors import CertificateError
from selective_autonomy.evaluation.intervals import Figure, binomial_interval
from selective_autonomy.frozen import Frozen

# Accepts. In a crew of 24 at level 0.01, who stamps half of them is found 7 times in 10 with 50 and 3 in 10 with 30.
FEWEST = 50
FAST = 0.25  # of what colleagues take in the middle for a proposal of this length
# Reading times scatter widely (log-normal, sigma 0.72 on the embedded desk): 3 % of honest accepts take less than a
# quarter of the usual, and 25 % only where someone works 2.4 times as fast as the crew.
ALLOWED = 0.25
_LENGTHS = 5  # groups of proposals of like length


class Pace(Frozen):
    """One operator's accepts. `fast`: share that took less than a quarter of what colleagues take for like proposals.

    `seconds`: median of accepts. `beside_corrects`: that median over the median of own corrections, each beside what
    the crew takes for its length; nan where either is missing. `p_value`: of "at most a quarter of the accepts are
    fast". `verdict` "not_enough_data": fewer than `FEWEST` accepts with seconds; `note` says how many.
    """

    operator_id: str
    accepts: int
    seconds: float
    fast: Figure
    beside_corrects: float
    p_value: float
    verdict: Literal["flagged", "clear", "not_enough_data"]
    note: str = ""


def rubber_stamps(
    operator_N: Sequence[str], accepted_N: ArrayLike, seconds_N: ArrayLike, length_N: ArrayLike, *, level: float = 0.01
) -> tuple[Pace, ...]:
    """Every operator's pace, and who is flagged; by operator id.

    Guarantee: the chance that anyone is flagged whose true share of fast accepts is at most `ALLOWED` is at most
    `level`, over the whole crew: exact binomial tests, Holm's correction (1979). Assumptions: an operator's accepts are
    fast or not independently of each other, and most of the crew reads; where most do not, the usual time is
    theirs, and only probes find them out. Sees: any split, for it takes part in no promise.

    Args:
        seconds_N: from shown to answered; nan: not known, and not counted. Not the seconds of the step itself.
        length_N: characters of the proposal. Times are compared within fifths of equal count.

    Raises:
        CertificateError: arrays of different length, negative seconds, or a level outside (0, 1).
    """
    check_share("level", level)
    operator = np.asarray(operator_N, dtype=object)
    accepted, seconds = np.asarray(accepted_N, dtype=bool), np.asarray(seconds_N, dtype=np.float64)
    length = np.asarray(length_N, dtype=np.float64)
    if len({operator.size, accepted.size, seconds.size, length.size}) != 1 or bool((seconds < 0).any()):
        raise CertificateError(
            f"got {operator.size} operators, {accepted.size} verdicts, {seconds.size} times (smallest "
            f"{np.nanmin(seconds, initial=np.inf)}) and {length.size} lengths; "
            "expected as many of each, and no negative time"
        )
    beside_N = seconds / _usual_seconds(operator, accepted, seconds, length)
    paces = [
        _pace(who, accepted[mine], seconds[mine], beside_N[mine])
        for who in sorted(set(operator_N))
        for mine in [operator == who]
    ]
    flagged = holm([pace.p_value for pace in paces], level)
    return tuple(
        pace.model_copy(update={"verdict": "flagged"}) if found else pace
        for pace, found in zip(paces, flagged, strict=True)
    )


def _usual_seconds(
    operator_N: NDArray[np.object_],
    accepted_N: NDArray[np.bool_],
    seconds_N: NDArray[np.float64],
    length_N: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Median over colleagues of their median time for such a verdict on a proposal of this length; nan: no colleague.

    A median of medians: one busy operator does not set the pace, whoever it is.
    """
    edges = np.unique(np.quantile(length_N, np.arange(1, _LENGTHS) / _LENGTHS)) if length_N.size else np.array([])
    group_N = np.searchsorted(edges, length_N, side="left") * 2 + accepted_N
    usual_N = np.full(seconds_N.size, np.nan)
    timed_N = np.isfinite(seconds_N)
    for group in np.unique(group_N):
        inside = group_N == group
        medians = {
            who: float(np.median(seconds_N[m]))
            for who in set(operator_N[inside & timed_N])
            for m in [inside & timed_N & (operator_N == who)]
        }
        for who in set(operator_N[inside]):
            others = [median for name, median in medians.items() if name != who]
            usual_N[inside & (operator_N == who)] = np.median(others) if others else np.nan
    return usual_N


def _pace(
    who: str, accepted_N: NDArray[np.bool_], seconds_N: NDArray[np.float64], beside_N: NDArray[np.float64]
) -> Pace:
    timed_N = np.isfinite(beside_N)
    accepts = int((accepted_N & timed_N).sum())
    fast = int((beside_N[accepted_N & timed_N] < FAST).sum())
    corrects = beside_N[~accepted_N & timed_N]
    enough = accepts >= FEWEST
    return Pace(
        operator_id=who,
        accepts=accepts,
        seconds=float(np.median(seconds_N[accepted_N & timed_N])) if accepts else np.nan,
        fast=binomial_interval(fast, accepts),
        beside_corrects=float(np.median(beside_N[accepted_N & timed_N]) / np.median(corrects))
        if accepts and corrects.size and np.median(corrects) > 0
        else np.nan,
        p_value=float(binomtest(fast, accepts, ALLOWED, alternative="greater").pvalue) if enough else 1.0,
        verdict="clear" if enough else "not_enough_data",
        note="" if enough else f"not enough data: {accepts} of {FEWEST}",
    )
