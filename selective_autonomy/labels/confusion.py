"""What an operator's sensitivity and false-alarm rate may be, counted over truths that are themselves unsure.

The variance comes from the observed information: what would be known with every truth at hand, less what is missing
without (Louis 1982). It is then put as a number of effective units into Clopper–Pearson limits, as for clustered
samples (Korn & Graubard 1998): they stay inside [0, 1] and have width where no error was seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from selective_autonomy.certify.binomial import upper_limit
from selective_autonomy.evaluation.intervals import Figure

_LEAST_INFORMATION = 0.05  # about a third of one verdict: a direction of which nothing is known has wide limits
Verdicts = Mapping[str, Mapping[str, bool]]


def told_apart(shared: Verdicts, known: Mapping[str, bool]) -> set[str]:
    """The operators whose confusion the verdicts can tell.

    Two who share proposals leave it open who errs; three who share with one another settle it, and so does a known
    truth; from there it spreads to all who share with one of them.
    """
    names = sorted({who for said in shared.values() for who in said})
    number = {who: w for w, who in enumerate(names)}
    meets = np.zeros((len(names), len(names)), dtype=np.int64)
    told = np.zeros(len(names), dtype=bool)
    for item, said in shared.items():
        who = [number[name] for name in said]
        meets[np.ix_(who, who)] = 1
        told[who] |= item in known
    np.fill_diagonal(meets, 0)
    told |= np.diagonal(meets @ meets @ meets) > 0
    while (spread := told | ((meets @ told) > 0)).sum() > told.sum():
        told = spread
    return {names[w] for w in np.flatnonzero(told)}


def confusion_intervals(
    shared: Verdicts, p_wrong: Mapping[str, float], known: Mapping[str, bool], told: Set[str]
) -> dict[str, tuple[Figure, Figure]]:
    """Operator -> sensitivity and false alarm with 95 % intervals, for the operators in `told`.

    Guarantee: asymptotic, in the number of shared proposals; measured in `tests/labels/test_reliability.py`.
    """
    names = sorted({who for said in shared.values() for who in said})
    if not names:
        return {}
    number = {who: w for w, who in enumerate(names)}
    item_V = np.repeat(np.arange(len(shared)), [len(said) for said in shared.values()])
    operator_V = np.array([number[who] for said in shared.values() for who in said])
    says_V = np.array([wrong for said in shared.values() for wrong in said.values()], dtype=np.float64)
    p_I = np.array([p_wrong[item] for item in shared])
    unknown_I = np.array([item not in known for item in shared])
    W = len(names)
    weight_TV = np.stack([1 - p_I[item_V], p_I[item_V]])
    units_TW = np.stack([np.bincount(operator_V, weights=weight_V, minlength=W) for weight_V in weight_TV])
    said_TW = np.stack([np.bincount(operator_V, weights=weight_V * says_V, minlength=W) for weight_V in weight_TV])
    rate_TW = (said_TW + 0.5) / (units_TW + 1)  # half a unit each way: 0 and 1 would pass for certainty
    spread_TW = rate_TW * (1 - rate_TW)
    prior = p_I[unknown_I].mean() if unknown_I.any() else 0.5
    # What is missing is the truth of each item: it shifts the item's score by this much, one way or the other.
    shift = csr_array(
        (
            np.concatenate([rate_TW[0][operator_V] - says_V, says_V - rate_TW[1][operator_V], np.ones(len(shared))]),
            (
                np.concatenate([item_V, item_V, np.arange(len(shared))]),
                np.concatenate([operator_V, operator_V + W, np.full(len(shared), 2 * W)]),
            ),
        ),
        shape=(len(shared), 2 * W + 1),
    )
    complete = np.array([*(units_TW * spread_TW).ravel(), max(unknown_I.sum(), 1) * prior * (1 - prior)])
    missing = (shift.T @ (diags_array(p_I * (1 - p_I)) @ shift)).toarray()
    values, axes = np.linalg.eigh(np.diag(complete) - missing)
    variance = (axes**2 / np.maximum(values, _LEAST_INFORMATION)).sum(axis=1)
    variance_TW = variance[: 2 * W].reshape(2, W)  # of the logits
    effective_TW = np.minimum(units_TW, 1 / (variance_TW * spread_TW))
    figures = {}
    for who in sorted(told):
        w = number[who]
        right, wrong = (_figure(said_TW[t, w], units_TW[t, w], effective_TW[t, w]) for t in (0, 1))
        figures[who] = (wrong, right)
    return figures


def _figure(said: float, units: float, effective: float) -> Figure:
    if units < 0.5:
        return Figure(value=math.nan, low=0.0, high=1.0, n=0)
    value = min(1.0, said / units)
    k: NDArray[np.float64] = np.array([value, 1 - value]) * effective
    high, miss = upper_limit(np.minimum(k, effective), effective, 0.025)
    return Figure(value=value, low=float(1 - miss), high=float(high), n=round(units))
