"""The stacked critic: what the policy says of itself, what its model says of the action, and what the evidence says.

Two ways to join them: a logistic regression on the log-odds of all, or the trees of the evidence critic with the
generative critic's log-odds as one column more. The one that predicts unseen sessions of fit better is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import lightgbm
import numpy as np
from numpy.typing import ArrayLike, NDArray

from selective_autonomy.critic.boosted import boost, boosted_log_odds, gain_shares, read_booster
from selective_autonomy.critic.by_action import Calibrated, Calibration
from selective_autonomy.critic.card import read_card, write_card
from selective_autonomy.critic.evidence import NAMES, Evidence, action_types
from selective_autonomy.critic.generative import causal_lm, judge, load_verdict, save_verdict
from selective_autonomy.critic.joining import COLUMNS, TREE_COLUMNS, Parts, Weights, columns
from selective_autonomy.critic.verdicts import Verdict
from selective_autonomy.errors import ModelError
from selective_autonomy.params import StackedParams
from selective_autonomy.policy.protocol import Policy, Proposal
from selective_autonomy.traces.schema import Session

if TYPE_CHECKING:
    from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy

_BOOSTER = "critic.txt"


class StackedCritic(Calibrated):
    """Implements `Critic`. `weights` None: trees join the parts, else they are one of the parts that it weighs."""

    kind = "stacked"

    def __init__(
        self,
        policy: CausalLMPolicy,
        verdict: Verdict,
        evidence: Evidence,
        booster: lightgbm.Booster,
        weights: Weights | None,
        calibration: Calibration,
    ) -> None:
        self._policy, self._verdict, self._evidence, self._booster = policy, verdict, evidence, booster
        self._weights, self._calibration = weights, calibration

    @property
    def calibration(self) -> str:
        return f"{'trees' if self._weights is None else 'regression'}, {self._calibration.kind}"

    @classmethod
    def fit(
        cls,
        policy: Policy | Path,
        evidence: Evidence,
        befores: Sequence[Session],
        proposals: Sequence[Proposal],
        accepted_N: ArrayLike,
        params: StackedParams,
    ) -> StackedCritic:
        """Fit the parts and join their out-of-fold scores, all on the same folds. Sees: fit (`evidence` saw train).

        Raises:
            ModelError: the policy is no causal language model; or as `BoostedCritic.fit`.
        """
        going_on = causal_lm(policy)
        return cls.of_parts(
            going_on, evidence, Parts.fit(going_on, evidence, befores, proposals, accepted_N, params), params
        )

    @classmethod
    def of_parts(cls, policy: CausalLMPolicy, evidence: Evidence, parts: Parts, params: StackedParams) -> StackedCritic:
        """Join parts that were fitted already, whichever way predicts unseen sessions better."""
        type_N, accepted_N = action_types(parts.x_NF), parts.accepted_N
        by_weights, by_trees = (
            Calibration.fit(raw_N, type_N, accepted_N, parts.fold_N, params.calibration)
            for raw_N in (parts.by_regression(), parts.by_trees(params))
        )
        if by_weights.log_loss["chosen"] <= by_trees.log_loss["chosen"]:
            booster, weights = boost(parts.x_NF, accepted_N, params.evidence), Weights.fit(parts.as_columns, accepted_N)
            return cls(policy, parts.verdict, evidence, booster, weights, by_weights)
        booster = boost(parts.widened, accepted_N, params.evidence, TREE_COLUMNS)
        return cls(policy, parts.verdict, evidence, booster, None, by_trees)

    def p_accept(self, befores: Sequence[Session], proposals: Sequence[Proposal]) -> NDArray[np.float64]:
        """`p_accept_N` strictly inside (0, 1)."""
        if not befores and not proposals:
            return np.empty(0)
        x_NF = self._evidence.featurise(befores, proposals)
        generative_N = judge(self._policy, self._verdict, befores, proposals)
        if self._weights is None:
            raw_N = boosted_log_odds(self._booster, np.column_stack([x_NF, generative_N]))
        else:
            raw_N = self._weights(columns(proposals, generative_N, boosted_log_odds(self._booster, x_NF)))
        return self._calibration(raw_N, action_types(x_NF))

    def importances(self) -> dict[str, float]:
        """Of trees: shares of the gain; of a regression: shares of the sizes of its slopes."""
        if self._weights is None:
            return gain_shares(self._booster, TREE_COLUMNS)
        size_F = np.abs(self._weights.slope_F)
        shares = zip(COLUMNS, (size_F / (size_F.sum() or 1.0)).tolist(), strict=True)
        return dict(sorted(shares, key=lambda one: -one[1]))

    def save(self, out: Path) -> None:
        """Write the parts, the calibration and, last, `critic.json` into `out`."""
        out.mkdir(parents=True, exist_ok=True)
        self._evidence.save(out)
        (out / _BOOSTER).write_text(self._booster.model_to_string(), encoding="utf-8")
        self._calibration.save(out)
        weights = None if self._weights is None else [*self._weights.slope_F, self._weights.intercept]
        write_card(out, self.kind, base=save_verdict(self._verdict, self._policy, out), weights=weights)

    @classmethod
    def load(cls, path: Path, policy: Policy | Path) -> StackedCritic:
        """Read what `save` wrote.

        Raises:
            ModelError: a file is missing or damaged, or it was fitted for another policy.
        """
        going_on, card = causal_lm(policy), read_card(path)
        verdict = load_verdict(path, going_on, card.get("base"))
        evidence, calibration = Evidence.load(path), Calibration.load(path)
        try:
            stated = card["weights"]
            weights = None if stated is None else Weights(tuple(map(float, stated[:-1])), float(stated[-1]))
        except (KeyError, TypeError, ValueError, IndexError) as err:
            raise ModelError(f"{path} states no weights: {err!r}; fit the critic again") from err
        if weights is not None and len(weights.slope_F) != len(COLUMNS):
            raise ModelError(
                f"{path} has {len(weights.slope_F)} weights, expected {len(COLUMNS)}; fit the critic again"
            )
        booster = read_booster(path / _BOOSTER, len(TREE_COLUMNS) if weights is None else len(NAMES))
        return cls(going_on, verdict, evidence, booster, weights, calibration)
