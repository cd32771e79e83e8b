"""A second view of the next head: a model of another kind joins the language model's members.

What two models of one kind get wrong together, a bag of words often gets right. It knows only heads that it was trained
on, so it keeps out where an open procedure was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.policy.baselines.regression import RegressionHeads
from selective_autonomy.traces.schema import Session


@dataclass(frozen=True, slots=True)
class SecondView:
    """`weight`: the share of its probabilities in the mean, between 0 and 1."""

    heads: RegressionHeads
    weight: float

    def join(
        self,
        befores: Sequence[Session],
        legal: Sequence[Sequence[str]],
        p_NK: NDArray[np.float64],
        known_N: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """The mean of both for N steps. Steps that are not known come back as they were.

        Args:
            befores, legal: the open log of each step, and its legal heads.
            p_NK: the first view; a row holds the probabilities of its legal heads, then padding.
        """
        joined_NK = p_NK.copy()
        at = np.flatnonzero(known_N).tolist()
        scores = self.heads.scores([befores[n] for n in at], [legal[n] for n in at])
        for n, scores_A in zip(at, scores, strict=True):
            p_A = np.exp(scores_A - scores_A.max())
            count = len(p_A)
            joined_NK[n, :count] = (1 - self.weight) * p_NK[n, :count] + self.weight * p_A / p_A.sum()
        return joined_NK
