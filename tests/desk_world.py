"""Sessions of the embedded desk with a policy of counts and a critic, made once for all tests that need them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.critic.boosted import BoostedCritic
from selective_autonomy.critic.evidence import Evidence
from selective_autonomy.desk.process import load_desk_process
from selective_autonomy.desk.simulate import simulate_sessions
from selective_autonomy.evaluation.replay import ReplayedStep, replay
from selective_autonomy.params import EvidenceParams, NgramParams
from selective_autonomy.policy.baselines.policies import Baseline
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.process.comparison import same_action
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session

PARAMS = EvidenceParams(trees=40, leaves=7, learning_rate=0.1, min_leaf=10, seed=1)


@dataclass(frozen=True)
class Judged:
    """The steps of one split, each with its proposal; accepted = the operator chose the same head."""

    replayed: list[ReplayedStep]
    befores: list[Session]
    proposals: list[Proposal]
    accepted: NDArray[np.bool_]
    session_ids: list[str]


@dataclass(frozen=True)
class World:
    schema: ProcessSchema
    train: list[Session]
    policy: Baseline
    evidence: Evidence
    fit: Judged
    calibrate: Judged
    critic: BoostedCritic


@cache
def world() -> World:
    schema, sessions = load_desk_process(), simulate_sessions(3, 240)
    train, fit, calibrate = sessions[:120], sessions[120:190], sessions[190:]
    policy, evidence = Baseline.fit(train, schema, NgramParams()), Evidence.fit(train, schema)
    fitted = judged(policy, fit)
    critic = BoostedCritic.fit(evidence, fitted.befores, fitted.proposals, fitted.accepted, PARAMS)
    return World(schema, train, policy, evidence, fitted, judged(policy, calibrate), critic)


def judged(policy: Baseline, sessions: list[Session]) -> Judged:
    replayed = replay(policy, sessions)
    return Judged(
        replayed,
        [r.step.before for r in replayed],
        [r.proposal for r in replayed],
        np.array([same_action(r.proposal.action, r.step.action, "tool") for r in replayed]),
        [r.session_id for r in replayed],
    )
