"""How large a drift score is by chance alone: the same rows, dealt to the two windows at random.

An effect size does not shrink with the sample, but its estimate is too large on small ones: two windows of 200
rows from one distribution over 40 categories are 0.2 apart on average. So each score comes with what chance
gives at these very window sizes. Whole sessions are dealt, because steps of one session are alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

# The largest of 100 deals is exceeded by chance once in about 100 columns.
DEALS = 100


def dealt_windows(session_of_row_N: NDArray[np.int64], n_reference: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """`is_reference_DN`: DEALS assignments of rows to windows, each with the reference's number of sessions.

    Args:
        session_of_row_N: session number of each row, 0 to S-1, the reference's rows first.
        n_reference: rows of the reference window.
    """
    n_sessions = int(session_of_row_N.max()) + 1
    n_in_reference = len(np.unique(session_of_row_N[:n_reference]))
    deals = np.zeros((DEALS, n_sessions), dtype=np.bool_)
    for deal in deals:
        deal[rng.permutation(n_sessions)[:n_in_reference]] = True
    return deals[:, session_of_row_N]


def category_chance(codes_N: NDArray[np.int64], is_reference_DN: NDArray[np.bool_]) -> float:
    """Largest Jensen-Shannon distance over the deals. `codes_N`: category of each row, 0 to K-1."""
    n_codes = int(codes_N.max()) + 1
    all_counts = np.bincount(codes_N, minlength=n_codes)
    scores = []
    for is_reference_N in is_reference_DN:
        counts = np.bincount(codes_N[is_reference_N], minlength=n_codes)
        scores.append(category_score(counts, all_counts - counts))
    return max(scores)


def category_score(reference_counts: NDArray[np.int64], current_counts: NDArray[np.int64]) -> float:
    """Jensen-Shannon distance (natural logarithm) of two count vectors; 0 if one of them is empty."""
    if not reference_counts.sum() or not current_counts.sum():
        return 0.0
    return float(jensenshannon(reference_counts / reference_counts.sum(), current_counts / current_counts.sum()))


def number_chance(values_N: NDArray[np.float64], is_reference_DN: NDArray[np.bool_], scale: float) -> float:
    """Largest Wasserstein distance over the deals, divided by `scale`. Rows are sorted once for all deals."""
    order = np.argsort(values_N, kind="stable")
    widths = np.diff(values_N[order])
    scores = []
    for is_reference_N in is_reference_DN[:, order]:
        n_reference = int(is_reference_N.sum())
        n_current = len(values_N) - n_reference
        if not n_reference or not n_current:
            continue
        share = np.where(is_reference_N, 1.0 / n_reference, -1.0 / n_current)
        scores.append(float(np.abs(np.cumsum(share)[:-1]) @ widths) / scale)
    return max(scores, default=0.0)
