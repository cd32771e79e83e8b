"""Testing cuts in a fixed order: from the surest on, each at the full delta, until the first that fails.

Why no correction for the number of cuts is needed: a false promise is made only if the *first* cut in the
order whose risk exceeds alpha passes its test, and that has probability at most delta.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def quantile_cuts(scores_N: NDArray[np.float64], cuts: int) -> NDArray[np.float64]:
    """Thresholds that execute about 1/cuts, 2/cuts, ... 1 of the steps, strictest (highest) first.

    Each is a score that occurs; equal ones are merged, so ties everywhere leave a single cut. Empty in, empty out.
    """
    if scores_N.size == 0:
        return np.empty(0)
    ranked_N = np.sort(scores_N)[::-1]
    last_C = np.ceil(np.arange(1, cuts + 1) * scores_N.size / cuts).astype(np.int64) - 1
    return np.unique(ranked_N[last_C])[::-1]


def surest_cut(expected_upper_C: NDArray[np.float64]) -> int | None:
    """Where the sequence starts: the cut whose upper limit is expected to be the lowest, the laxest of equal ones.

    A sequence that starts at the strictest cut is stopped there by a handful of unlucky labels; one that starts at
    the laxest is stopped by its errors. In between lies the cut that is likeliest to pass.

    Validity: `expected_upper_C` comes from scores and from counts of executed units, never from labels of the split
    that is tested. Given those the labels are distributed as before, so the order is fixed with respect to what is
    tested. A critic that is off costs coverage, not the promise. None: no cut executes anything (all limits 1).
    """
    if not expected_upper_C.size or expected_upper_C.min() >= 1:
        return None
    return int(np.flatnonzero(expected_upper_C == expected_upper_C.min())[-1])


def passed_in_order(upper_C: NDArray[np.float64], start: int | None, alpha: float) -> list[int]:
    """Indices of the cuts that pass, from `start` on, up to the first that does not. Empty if there is no start."""
    if start is None:
        return []
    failing = np.flatnonzero(upper_C[start:] > alpha)
    stop = start + int(failing[0]) if failing.size else upper_C.size
    return list(range(start, stop))


def passed_both_ways(upper_C: NDArray[np.float64], start: int | None, alpha: float) -> list[int]:
    """Indices of the cuts that pass, strictest first: from `start` on to laxer ones, and from it back to stricter ones.

    Guarantee: as for one sequence, if `upper_C` is the limit at delta for the start and at delta / 2 for all
    others. The start's test spends delta only if it passes wrongly; once it has passed, its delta is free again and
    is handed on, half to each side (a graph of two chains, Bretz et al. 2009).
    """
    if start is None or upper_C[start] > alpha:
        return []
    stricter = passed_in_order(upper_C[start::-1], 0, alpha)[1:]
    return [start - back for back in reversed(stricter)] + passed_in_order(upper_C, start, alpha)
