"""Figures of a score against right / wrong: ranking, calibration, selective risk. Ties count as what is expected
of a random order inside them, so no figure depends on the order of its rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selective_autonomy.errors import SplitError

_BINS = 15


def auroc(scores_N: ArrayLike, right_N: ArrayLike, weight_N: ArrayLike | None = None) -> float:
    """P(a right step scores above a wrong one), ties counted half. nan when one class is missing."""
    scores, right, weight = _columns(scores_N, right_N, weight_N)
    wrong_G, right_G = _by_score(scores, (~right) * weight), _by_score(scores, right * weight)  # highest score first
    pairs = float(wrong_G.sum() * right_G.sum())
    if pairs == 0:
        return float("nan")
    below_G = wrong_G.sum() - np.cumsum(wrong_G)
    return float((right_G * (below_G + wrong_G / 2)).sum() / pairs)


def aurc(scores_N: ArrayLike, right_N: ArrayLike, weight_N: ArrayLike | None = None) -> float:
    """Area under the risk–coverage curve: the mean, over coverages, of the error share among the executed."""
    coverage, errors = risk_coverage(scores_N, right_N, weight_N)
    return float(np.mean(errors / coverage))


def augrc(scores_N: ArrayLike, right_N: ArrayLike, weight_N: ArrayLike | None = None) -> float:
    """Area under the generalised risk–coverage curve (Traub et al. 2024): the mean, over coverages, of the
    share of all steps that are executed and wrong. Unlike AURC it does not overrate the first few steps."""
    return float(np.mean(risk_coverage(scores_N, right_N, weight_N)[1]))


def risk_coverage(
    scores_N: ArrayLike, right_N: ArrayLike, weight_N: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`coverage_K`, `errors_K`: executing from the highest score down, share executed and share executed and wrong.

    K evenly spaced coverages 1/K .. 1, K the number of steps; linear inside ties. errors / coverage is the risk.
    """
    scores, right, weight = _columns(scores_N, right_N, weight_N)
    total = float(weight.sum())
    executed_G = np.concatenate([[0.0], np.cumsum(_by_score(scores, weight))]) / total
    errors_G = np.concatenate([[0.0], np.cumsum(_by_score(scores, ~right * weight))]) / total
    coverage_K = np.arange(1, scores.size + 1) / scores.size
    return coverage_K, np.interp(coverage_K, executed_G, errors_G)


def ece(p_N: ArrayLike, right_N: ArrayLike, weight_N: ArrayLike | None = None) -> float:
    """Expected calibration error: mean |share right − mean p| over 15 bins of equal width on [0, 1], by weight."""
    p, right, weight = _columns(p_N, right_N, weight_N)
    bin_N = np.minimum((p * _BINS).astype(np.int64), _BINS - 1)
    gap_B = np.bincount(bin_N, weights=weight * (right - p), minlength=_BINS)
    return float(np.abs(gap_B).sum() / weight.sum())


def brier(p_N: ArrayLike, right_N: ArrayLike, weight_N: ArrayLike | None = None) -> float:
    """Mean squared difference between p and what happened (0 or 1)."""
    p, right, weight = _columns(p_N, right_N, weight_N)
    return float((weight * (p - right) ** 2).sum() / weight.sum())


def gate_precision(
    scores_N: ArrayLike, right_N: ArrayLike, weight_N: ArrayLike | None = None, *, threshold: float
) -> float:
    """Precision of a gate that executes at `threshold` and above, macro-averaged: the mean of both classes.

    The classes are "execute" (right where the step is right) and "defer" (right where it is wrong). That published
    figures of this gate are such means shows in their F1, which is not the harmonic mean of their precision and recall.
    A class that is never predicted has precision 0. nan: only one class occurs.
    """
    return _macro(scores_N, right_N, weight_N, threshold)[0]


def gate_recall(
    scores_N: ArrayLike, right_N: ArrayLike, weight_N: ArrayLike | None = None, *, threshold: float
) -> float:
    """Recall, averaged as in `gate_precision`: the mean share of right steps executed and of wrong ones deferred."""
    return _macro(scores_N, right_N, weight_N, threshold)[1]


def gate_f1(scores_N: ArrayLike, right_N: ArrayLike, weight_N: ArrayLike | None = None, *, threshold: float) -> float:
    """F1, averaged as in `gate_precision`: the mean of the F1 of both classes."""
    return _macro(scores_N, right_N, weight_N, threshold)[2]


def _macro(
    scores_N: ArrayLike, right_N: ArrayLike, weight_N: ArrayLike | None, threshold: float
) -> tuple[float, float, float]:
    scores, right, weight = _columns(scores_N, right_N, weight_N)
    executed = scores >= threshold
    figures = []
    for said, is_so in ((executed, right), (~executed, ~right)):
        hit, called, there = (float(weight[at].sum()) for at in (said & is_so, said, is_so))
        if there == 0:
            return float("nan"), float("nan"), float("nan")
        figures.append((hit / called if called else 0.0, hit / there, 2 * hit / (called + there)))
    precision, recall, f1 = np.mean(figures, axis=0).tolist()
    return precision, recall, f1


def _columns(
    scores_N: ArrayLike, right_N: ArrayLike, weight_N: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    scores, right = np.asarray(scores_N, dtype=np.float64), np.asarray(right_N, dtype=bool)
    weight = np.ones(scores.shape) if weight_N is None else np.asarray(weight_N, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0 or right.shape != scores.shape or weight.shape != scores.shape:
        raise SplitError(
            f"scores, labels and weights must be non-empty and equally long; got {scores.shape}, {right.shape}, "
            f"{weight.shape}"
        )
    if not bool(np.all(np.isfinite(scores))):
        raise SplitError("scores hold NaN or infinity; expected numbers: repair the critic before measuring it")
    return scores, right, weight


def _by_score(scores_N: NDArray[np.float64], amount_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """`amount_G`: sums over steps with the same score, highest score first."""
    group_N = np.unique(-scores_N, return_inverse=True)[1]
    return np.asarray(np.bincount(group_N, weights=amount_N), dtype=np.float64)
