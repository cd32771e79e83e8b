"""What a stacked critic joins: scores of the parts by models blind to the row's session, and two ways to join them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression

from selective_autonomy.critic.boosted import boosted_out_of_fold
from selective_autonomy.critic.cross_fitting import checked_labels, held_out, session_folds
from selective_autonomy.critic.evidence import NAMES, Evidence
from selective_autonomy.critic.generative import fit_verdict
from selective_autonomy.critic.policy_probability import log_odds
from selective_autonomy.critic.verdicts import Verdict
from selective_autonomy.params import StackedParams
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.traces.schema import Session

if TYPE_CHECKING:
    from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy

COLUMNS = ("p_head", "log_prob", "generative", "evidence")  # whose log-odds the logistic regression joins
TREE_COLUMNS = (*NAMES, "generative")
_MOST = 12.0  # log-odds beyond it say nothing more, and would rule a regression


@dataclass(frozen=True)
class Weights:
    """A logistic regression on log-odds: `slope_F` in the order of `COLUMNS`."""

    slope_F: tuple[float, ...]
    intercept: float

    @classmethod
    def fit(cls, x_NF: NDArray[np.float64], accepted_N: NDArray[np.bool_]) -> Weights:
        model = LogisticRegression(C=1.0).fit(x_NF, accepted_N)
        return cls(tuple(model.coef_[0].tolist()), float(model.intercept_[0]))

    def __call__(self, x_NF: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(x_NF @ np.array(self.slope_F) + self.intercept)


@dataclass(frozen=True)
class Parts:
    """The feedback of the fit split and what each part says of it. `verdict`: trained on all rows.

    `generative_N`, `evidence_N`: log-odds by models that did not see the row's fold. `x_NF`: the evidence.
    """

    proposals: Sequence[Proposal]
    accepted_N: NDArray[np.bool_]
    fold_N: NDArray[np.int64]
    verdict: Verdict
    x_NF: NDArray[np.float64]
    generative_N: NDArray[np.float64]
    evidence_N: NDArray[np.float64]

    @classmethod
    def fit(
        cls,
        policy: CausalLMPolicy,
        evidence: Evidence,
        befores: Sequence[Session],
        proposals: Sequence[Proposal],
        accepted_N: ArrayLike,
        params: StackedParams,
    ) -> Parts:
        """All parts on the same folds. Sees: fit (`evidence` saw train).

        Raises:
            ModelError: as `BoostedCritic.fit`.
        """
        accepted = checked_labels(accepted_N, len(befores))
        fold_N = session_folds([before.session_id for before in befores], params.seed)
        verdict, generative_N = fit_verdict(policy, befores, proposals, accepted, fold_N, params.generative)
        x_NF = evidence.featurise(befores, proposals)
        evidence_N = boosted_out_of_fold(x_NF, accepted, fold_N, params.evidence)
        return cls(proposals, accepted, fold_N, verdict, x_NF, generative_N, evidence_N)

    @property
    def as_columns(self) -> NDArray[np.float64]:
        """What a regression joins."""
        return columns(self.proposals, self.generative_N, self.evidence_N)

    @property
    def widened(self) -> NDArray[np.float64]:
        """What trees join."""
        return np.column_stack([self.x_NF, self.generative_N])

    def by_regression(self) -> NDArray[np.float64]:
        """`raw_N`: each fold's rows by weights that did not see its labels."""
        x_NF, raw_N = self.as_columns, np.empty(self.accepted_N.size)
        for held_N in held_out(self.fold_N, self.accepted_N):
            raw_N[held_N] = Weights.fit(x_NF[~held_N], self.accepted_N[~held_N])(x_NF[held_N])
        return raw_N

    def by_trees(self, params: StackedParams) -> NDArray[np.float64]:
        """`raw_N`: each fold's rows by trees that did not see its labels."""
        return boosted_out_of_fold(self.widened, self.accepted_N, self.fold_N, params.evidence, TREE_COLUMNS)


def columns(
    proposals: Sequence[Proposal], generative_N: NDArray[np.float64], evidence_N: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`x_NF`, in the order of `COLUMNS`."""
    own = [log_odds(proposals, "head"), log_odds(proposals, "action")]
    return np.column_stack([np.clip(column, -_MOST, _MOST) for column in (*own, generative_N, evidence_N)])
