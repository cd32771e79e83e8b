"""A window of sessions as drift is measured on it: their steps, with feedback and the critic's scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_project.judged_steps import read_judged
from dagster_project.process_data import sessions_of
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.traces.splits import Split

if TYPE_CHECKING:
    import pandas as pd


def window(paths: ProcessPaths, split: Split) -> pd.DataFrame:
    """One row a step of the split's sessions: the columns of `quality_checks.drift_frame.DRIFT_COLUMNS`."""
    import pandas as pd

    from quality_checks.drift_frame import drift_frame
    from selective_autonomy.critic.kinds import load_critic

    sessions = sessions_of(paths, split)
    judged = read_judged(paths.feedback, sessions)
    critic = load_critic(paths.critic, policy=paths.policy)
    scores_N = critic.p_accept([j.before for j in judged], [j.proposal for j in judged])
    feedback = pd.DataFrame(
        {
            "session_id": [j.replayed.session_id for j in judged],
            "index": [j.replayed.step.index for j in judged],
            "accepted": [j.judgement.verdict == "accept" for j in judged],
            "p_head": [j.proposal.p_head for j in judged],
            "p_accept": scores_N,
        }
    )
    return drift_frame(sessions[split], feedback)
