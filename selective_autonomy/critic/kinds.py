"""Every kind of critic by its name in `params.yaml`: fit one, load one. A new kind is one branch in each function.

Whatever the kind, a fitted critic is a folder whose `critic.json`, written last, names it; without it there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from numpy.typing import ArrayLike

from selective_autonomy.critic.card import read_card
from selective_autonomy.critic.protocol import Critic
from selective_autonomy.errors import ModelError
from selective_autonomy.params import (
    CriticParams,
    EvidenceParams,
    GenerativeParams,
    PolicyProbabilityParams,
    StackedParams,
)
from selective_autonomy.policy.protocol import Policy, Proposal
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session


def fit_critic(
    train: Sequence[Session],
    schema: ProcessSchema,
    befores: Sequence[Session],
    proposals: Sequence[Proposal],
    accepted_N: ArrayLike,
    params: CriticParams,
    *,
    policy: Policy | Path,
) -> Critic:
    """Fit a critic of the kind that `params` asks for on copilot feedback. Deterministic.

    Sees: train, for what was to be expected, and fit, for what operators accepted; never the two other splits.

    Args:
        befores, proposals, accepted_N: the feedback of the fit split: the log before each step, what was proposed
            there, and 1 or True where the operator accepted it, or called it acceptable.
        policy: whose proposals these are, or its folder, read only by kinds that go on from its weights.

    Raises:
        ModelError: lengths differ; a label is NaN or not 0 / 1; fewer than two sessions; all labels (outside some
            fifth of the sessions) are equal; or the kind cannot go with this policy.
    """
    # Imported here: a critic of counts loads no boosting, one of trees no torch.
    match params:
        case PolicyProbabilityParams():
            from selective_autonomy.critic.policy_probability import PolicyProbabilityCritic

            return PolicyProbabilityCritic.fit(befores, proposals, accepted_N, params)
        case EvidenceParams():
            from selective_autonomy.critic.boosted import BoostedCritic
            from selective_autonomy.critic.evidence import Evidence

            return BoostedCritic.fit(Evidence.fit(train, schema), befores, proposals, accepted_N, params)
        case GenerativeParams():
            from selective_autonomy.critic.generative import GenerativeCritic

            return GenerativeCritic.fit(policy, befores, proposals, accepted_N, params)
        case StackedParams():
            from selective_autonomy.critic.evidence import Evidence
            from selective_autonomy.critic.stacked import StackedCritic

            return StackedCritic.fit(policy, Evidence.fit(train, schema), befores, proposals, accepted_N, params)
    raise ModelError(f"got a critic of kind {params.kind!r}, which nothing here fits")


def load_critic(path: Path, *, policy: Policy | Path) -> Critic:
    """The critic that `Critic.save` wrote. Reads no network.

    Args:
        policy: the one it was fitted for, or its folder. A loaded one shares what it remembers of a session.

    Raises:
        ModelError: the folder holds no critic, or one of a kind that this version does not know, or of another policy.
    """
    kind = read_card(path)["kind"]
    match kind:
        case "policy_probability":
            from selective_autonomy.critic.policy_probability import PolicyProbabilityCritic

            return PolicyProbabilityCritic.load(path)
        case "evidence":
            from selective_autonomy.critic.boosted import BoostedCritic

            return BoostedCritic.load(path)
        case "generative":
            from selective_autonomy.critic.generative import GenerativeCritic

            return GenerativeCritic.load(path, policy)
        case "stacked":
            from selective_autonomy.critic.stacked import StackedCritic

            return StackedCritic.load(path, policy)
    raise ModelError(f"{path} holds a critic of kind {kind!r}, which this version does not know; fit it again")
