"""What a certificate's threshold does in truth: verdicts on all steps, and adjudications of a random few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagster_project.judged_steps import critical_steps
from dagster_project.process_data import sessions_of
from selective_autonomy.process.schema import load_process

if TYPE_CHECKING:
    from dagster_project.resources.workspace import ProcessPaths
    from selective_autonomy.certify.certificate import Certificate

ADJUDICATED_SHARE = 0.2  # of the executed steps of the calibrate split


def true_risk_facts(paths: ProcessPaths, certificate: Certificate) -> dict[str, Any]:
    """The share of truly wrong steps among those that the threshold executes, beside what operators call wrong.

    Empty where nothing is certified, or where nobody knows the truth (a log holds only what operators did). Which
    steps are adjudicated is drawn by a key that exists only once the scores and verdicts do: their own digest.
    """
    import numpy as np

    from selective_autonomy.certify.label_noise import truly_wrong_share
    from selective_autonomy.critic.kinds import load_critic
    from selective_autonomy.keyed_draw import drawn

    if certificate.threshold is None:
        return {}
    judged = critical_steps(paths.feedback, load_process(paths.schema), sessions_of(paths, "calibrate"))
    critic = load_critic(paths.critic, policy=paths.policy)
    scores_N = critic.p_accept([j.before for j in judged], [j.proposal for j in judged])
    executed = [
        one
        for one, score in zip(judged, scores_N, strict=True)
        if (threshold := certificate.threshold_of(one.proposal.action.type)) is not None and score >= threshold
    ]
    if not executed or any(one.judgement.truly_wrong is None for one in executed):
        return {}
    key = certificate.scores_digest.encode()
    adjudicated = [
        drawn(key, "adjudication", one.replayed.session_id, str(one.replayed.step.index), rate=ADJUDICATED_SHARE)
        for one in executed
    ]
    found = truly_wrong_share(
        [one.wrong for one in executed],
        [
            float(bool(one.judgement.truly_wrong)) if adjudicate else np.nan
            for one, adjudicate in zip(executed, adjudicated, strict=True)
        ],
        np.full(len(executed), ADJUDICATED_SHARE),
        [one.replayed.session_id for one in executed],
    )
    return {
        "truly_wrong_share": found.value,
        "truly_wrong_low": found.low,
        "truly_wrong_high": found.high,
        "steps_adjudicated": found.adjudicated,
        "operators_call_wrong": sum(one.wrong for one in executed) / len(executed),
    }
