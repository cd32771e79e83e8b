"""The copilot stage of a process: its policy, its feedback source, and every session it was not trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from dagster_project.endpoint import endpoint_from
from dagster_project.judged_steps import JudgedStep
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.evaluation.replay import FeedbackSource, replay
from selective_autonomy.params import ProcessParams
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.splits import Split


def judge_proposals(
    paths: ProcessPaths,
    params: ProcessParams,
    sessions: Mapping[Split, Sequence[Session]],
    on_session: Callable[[], None],
) -> list[JudgedStep]:
    """Replay sessions through the policy and have every proposal judged, in the order of the sessions."""
    from selective_autonomy.policy.kinds import load_policy

    # A replay is one pass: there is nothing to keep.
    policy = load_policy(paths.policy, cache_sessions=0, endpoint=endpoint_from(os.environ))
    source = feedback_source(params)
    judged: list[JudgedStep] = []
    for split, group in sessions.items():
        for session in group:
            replayed = replay(policy, [session], on_session=on_session)
            judgements = source.judge(session, [step.proposal for step in replayed])
            judged += [JudgedStep(step, said, split) for step, said in zip(replayed, judgements, strict=True)]
    return judged


def feedback_source(params: ProcessParams) -> FeedbackSource:
    """Who judges: the embedded desk's operators, or the log of what the real ones did."""
    if params.feedback == "desk":
        from selective_autonomy.desk.feedback import DeskFeedback

        return DeskFeedback(params.seed)
    from selective_autonomy.evaluation.copilot import LoggedFeedback

    return LoggedFeedback("tool" if params.feedback == "log_tool" else "strict")
