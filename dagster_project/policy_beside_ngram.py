"""The released policy's proposals on test, as the copilot stage kept them, beside those of an action n-gram."""

from __future__ import annotations

from dagster_project.judged_steps import read_judged
from dagster_project.measurement import SEED
from dagster_project.process_data import sessions_of
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.evaluation.accuracy import difference
from selective_autonomy.evaluation.intervals import Figure
from selective_autonomy.evaluation.policy_report import PolicyReport, report_policy
from selective_autonomy.evaluation.replay import ReplayCost, replay
from selective_autonomy.params import DEFAULT_POLICY, NgramParams, PolicyParams
from selective_autonomy.policy.baselines.policies import Baseline
from selective_autonomy.process.schema import load_process


def measured_beside_ngram(paths: ProcessPaths, params: PolicyParams) -> tuple[PolicyReport, PolicyReport, Figure]:
    """The policy's report, the n-gram's (fitted here on train, in seconds), and how far the policy is ahead in `tool`.

    Nothing of the policy is replayed: its proposals are those that the copilot stage judged.

    Raises:
        CorruptTraceFile: the copilot stage's file cannot be read.
        SplitError: the test split holds no judged step.
    """
    schema, sessions = load_process(paths.schema), sessions_of(paths, "train", "test")
    ours = [one.replayed for one in read_judged(paths.feedback, {"test": sessions["test"]})]
    judged = {(r.session_id, r.step.index) for r in ours}
    theirs = replay(Baseline.fit(sessions["train"], schema, NgramParams()), sessions["test"])
    theirs = [r for r in theirs if (r.session_id, r.step.index) in judged]  # validation may have set steps aside
    cost = ReplayCost()
    if paths.replay_cost.exists():
        cost = ReplayCost.model_validate_json(paths.replay_cost.read_text(encoding="utf-8"))
    train = len(sessions["train"])
    reports = (
        report_policy(
            ours, schema, policy=DEFAULT_POLICY, kind=params.kind, seed=SEED, cost=cost, train_sessions=train
        ),
        report_policy(theirs, schema, policy="ngram", kind="ngram", seed=SEED, train_sessions=train),
    )
    return *reports, difference(ours, theirs, "tool", seed=SEED)
