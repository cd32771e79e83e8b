"""How far operators who judged the same proposals agree. Needs no truth, so it says nothing about who is right."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from selective_autonomy.evaluation.intervals import Figure, ratio_interval
from selective_autonomy.frozen import Frozen
from selective_autonomy.labels.reviews import Review, by_item


class Agreement(Frozen):
    """`items`: proposals that two operators or more judged; the rest does not take part.

    `pairs_agree`: share of pairs of verdicts on one proposal that are the same. `by_operator`: of the pairs that the
    operator is in. `alpha`: Krippendorff's, 1 = always the same, 0 = as by chance; nan where all verdicts are equal,
    for then nothing shows whether they could have differed.
    """

    items: int
    pairs_agree: Figure
    alpha: float
    by_operator: dict[str, Figure]


def agreement(reviews: Iterable[Review], *, seed: int) -> Agreement:
    """Agreement among operators, with 95 % bootstrap intervals over proposals.

    Krippendorff (2011), "Computing Krippendorff's alpha-reliability", nominal data with missing verdicts; two labels
    have a closed form. No shared proposal: shares nan in [0, 1], alpha nan.
    """
    shared = [verdicts for verdicts in by_item(reviews).values() if len(verdicts) > 1]
    m_I = np.array([len(verdicts) for verdicts in shared], dtype=np.float64)
    wrong_I = np.array([sum(verdicts.values()) for verdicts in shared], dtype=np.float64)
    differ_I = wrong_I * (m_I - wrong_I)
    pairs_I = m_I * (m_I - 1) / 2
    same: dict[str, list[tuple[float, float]]] = {}
    for verdicts, m, wrong in zip(shared, m_I, wrong_I, strict=True):
        for operator_id, said in verdicts.items():
            same.setdefault(operator_id, []).append(((wrong if said else m - wrong) - 1, m - 1))
    return Agreement(
        items=len(shared),
        pairs_agree=ratio_interval(pairs_I - differ_I, pairs_I, seed=seed),
        alpha=_alpha(m_I, wrong_I),
        by_operator={name: ratio_interval(*np.array(rows).T, seed=seed) for name, rows in sorted(same.items())},
    )


def _alpha(m_I: np.ndarray, wrong_I: np.ndarray) -> float:
    n, wrong = m_I.sum(), wrong_I.sum()
    if wrong in (0, n):
        return float("nan")
    observed = (wrong_I * (m_I - wrong_I) / (m_I - 1)).sum()
    return float(1 - (n - 1) * observed / (wrong * (n - wrong)))
