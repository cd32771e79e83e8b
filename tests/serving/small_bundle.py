"""A real decision bundle that is made in a second: counts for a policy, a small critic, a threshold in its middle."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from selective_autonomy.bundle import build_bundle
from selective_autonomy.bundle_files import folder_digest
from selective_autonomy.certify.certificate import Bound, Certificate, Slice
from selective_autonomy.critic.boosted import BoostedCritic
from selective_autonomy.critic.evidence import Evidence
from selective_autonomy.desk.feedback import DeskFeedback
from selective_autonomy.desk.process import load_desk_process
from selective_autonomy.desk.simulate import simulate_sessions
from selective_autonomy.evaluation.replay import replay
from selective_autonomy.params import EvidenceParams, NgramParams
from selective_autonomy.policy.baselines.policies import Baseline
from selective_autonomy.process.actions import ACTION_TYPES
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps

SEED = 11


@dataclass(frozen=True)
class Made:
    """`unseen`: open logs that no part of the bundle has seen, each as it stood before a step."""

    path: Path
    unseen: list[Session]


def make_bundle(folder: Path) -> Made:
    schema = load_desk_process()
    sessions = simulate_sessions(SEED, 110)
    train, fit, rest = sessions[:60], sessions[60:100], sessions[100:]
    policy = Baseline.fit(train, schema, NgramParams())
    policy.save(folder / "policy")
    replayed = replay(policy, fit)
    feedback = DeskFeedback(SEED)
    by_session = {s.session_id: [r.proposal for r in replayed if r.session_id == s.session_id] for s in fit}
    judged = [judgement for s in fit for judgement in feedback.judge(s, by_session[s.session_id])]
    befores = [r.step.before for r in replayed]
    proposals = [r.proposal for r in replayed]
    params = EvidenceParams(trees=20, leaves=7, learning_rate=0.1, min_leaf=10, seed=1)
    critic = BoostedCritic.fit(
        Evidence.fit(train, schema), befores, proposals, [j.verdict == "accept" for j in judged], params
    )
    critic.save(folder / "critic")
    unseen = [step.before for session in rest for step in steps(session)]
    p_accept_N = critic.p_accept(unseen, policy.propose(unseen))
    bound = Bound(
        unit="step",
        method="none: a threshold that splits this test's cases in two",
        alpha=0.1,
        delta=0.05,
        threshold=float(np.median(p_accept_N)),
        n=len(unseen),
        n_executed=len(unseen) // 2,
        n_wrong=0,
        upper=0.1,
        coverage=0.5,
    )
    certificate = Certificate(
        process_id=schema.id,
        loss="test",
        slices=(Slice(name="all", action_types=ACTION_TYPES, alone=bound, step=bound),),
        splits={},
        policy_digest=folder_digest(folder / "policy"),
        critic_digest=folder_digest(folder / "critic"),
        scores_digest="test",
    )
    build_bundle(
        folder / "bundle",
        schema=schema,
        policy_dir=folder / "policy",
        critic_dir=folder / "critic",
        certificate=certificate,
        golden=unseen[:20],
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Made(folder / "bundle", unseen[20:])
