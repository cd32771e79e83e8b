"""From a process's files to its certificate, and back: the evidence is kept so that anybody can recompute it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagster_project.judged_steps import ADJUDICATED_LOSS, LOSSES, JudgedStep, critical_steps
from dagster_project.process_data import sessions_of
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.bundle_files import folder_digest
from selective_autonomy.certify.certificate import Bound, Certificate
from selective_autonomy.errors import CertificateError
from selective_autonomy.params import ProcessParams
from selective_autonomy.process.schema import load_process
from selective_autonomy.traces.splits import read_splits, split_digests

if TYPE_CHECKING:
    import pandas as pd
    from numpy import bool_, float64
    from numpy.typing import NDArray

    from selective_autonomy.certify.label_noise import Sensitivity

SEED = 0  # of the forecast: the same files give the same day
PROBES = 300  # more narrow the limit of the sensitivity by less than a point


def certify_process(paths: ProcessPaths, params: ProcessParams) -> Certificate:
    """Score the calibrate split with the critic and certify; writes the evidence beside the certificate."""
    import numpy as np
    import pandas as pd

    from selective_autonomy.certify.certify import certify
    from selective_autonomy.critic.kinds import load_critic

    judged = critical_steps(paths.feedback, load_process(paths.schema), sessions_of(paths, "calibrate"))
    critic = load_critic(paths.critic, policy=paths.policy)
    scores_N = critic.p_accept([j.before for j in judged], [j.proposal for j in judged])
    evidence = pd.DataFrame(
        {
            "session_id": [j.replayed.session_id for j in judged],
            "index": [j.replayed.step.index for j in judged],
            "procedures": [list(j.before.procedures) for j in judged],
            "action_type": [j.proposal.action.type for j in judged],
            "p_accept": np.asarray(scores_N, dtype="float64"),
            "rejected": [j.wrong for j in judged],
            "wrong": [j.counts_as_wrong(adjudicated=params.certificate.adjudicated) for j in judged],
        }
    )
    evidence.to_parquet(paths.certificate_evidence, index=False)
    sensitivity = _sensitivity(paths) if params.certificate.adjudicated else None
    return certify(
        *_columns(evidence),
        params.certificate,
        **_bindings(paths, params),
        **_asked(paths, params, evidence),
        sensitivity=sensitivity,
    )


def _sensitivity(paths: ProcessPaths) -> Sensitivity:
    """Known wrong proposals, put before the operators again: steps of fit that an adjudicator calls wrong.

    Every one of fit's critical steps is adjudicated for this; the verdict that the operator gave is the probe's answer.
    """
    from selective_autonomy.certify.label_noise import sensitivity_of

    judged = critical_steps(paths.feedback, load_process(paths.schema), sessions_of(paths, "fit"))
    planted = [one for one in judged if _truth(one)][:PROBES]
    return sensitivity_of([one.proposal.action.type for one in planted], [one.wrong for one in planted])


def _truth(one: JudgedStep) -> bool:
    return one.counts_as_wrong(adjudicated=True) or bool(one.judgement.truly_wrong)


def recheck(paths: ProcessPaths, params: ProcessParams) -> None:
    """Recompute the certificate on disk from its evidence, this policy, this critic and these splits.

    Raises:
        CertificateError: it does not follow from them; the message names what differs.
    """
    import pandas as pd

    from selective_autonomy.certify.certify import verify_certificate

    stated = read_certificate(paths)
    for name, now in _bindings(paths, params).items():
        if getattr(stated, name) != now:
            raise CertificateError(
                f"certificate {stated.id} was made for {name} {getattr(stated, name)!r}, now it is {now!r}; "
                "certify again"
            )
    evidence = pd.read_parquet(paths.certificate_evidence)
    verify_certificate(stated, *_columns(evidence), params.certificate, **_asked(paths, params, evidence))


def read_certificate(paths: ProcessPaths) -> Certificate:
    return Certificate.model_validate_json(paths.certificate.read_text(encoding="utf-8"))


def facts_of(certificate: Certificate) -> dict[str, Any]:
    """The promises as metadata: threshold, and risk, coverage and refusal of each; with a name where slices are many.

    `threshold` is the strictest in force; the coverage of steps is what their own promise allows alone.
    """
    facts: dict[str, Any] = {"certificate_id": certificate.id, "loss": certificate.loss}
    facts |= {f"{unit}_promised": alpha for unit, alpha in certificate.promised.items()}
    if certificate.sensitivity is not None:
        facts |= {"probes_planted": certificate.sensitivity.planted, "probes_caught": certificate.sensitivity.caught}
        if certificate.sensitivity.kind is not None:
            facts["probes_of"] = f"{certificate.sensitivity.kind}, which is caught less often than the others"
    if certificate.procedures is not None:
        facts["procedures"] = ", ".join(certificate.procedures)
    if certificate.threshold is not None:
        facts["threshold"] = certificate.threshold
    many = len(certificate.slices) > 1
    for one in certificate.slices:
        prefix = f"{one.name}: " if many else ""
        facts |= _facts_of_bound(one.alone, prefix)
        if many and (threshold := certificate.threshold_of(one.action_types[0])) is not None:
            facts[f"{prefix}threshold"] = threshold
        if many:
            facts[f"{prefix}action_types"] = ", ".join(one.action_types)
        if one.fallback is not None:
            facts[f"{prefix}fallback"] = one.fallback
        elif one.step.threshold is None and one.alone.threshold is not None:
            facts[f"{prefix}step_refusal"] = _refusal(one.step) + ", at the session promise's threshold"
    if certificate.session is not None:
        facts |= _facts_of_bound(certificate.session, "")
    return facts


def forecast_facts(paths: ProcessPaths, params: ProcessParams, certificate: Certificate) -> dict[str, Any]:
    """When a refused process may expect its certificate, by the times of the sessions; empty where there is no rate.

    The day of the last calibrate session stands for now, so the facts depend on the data alone.
    """
    import pandas as pd

    from selective_autonomy.certify.certify import in_labels
    from selective_autonomy.certify.forecast import LabelStream, forecast

    if certificate.threshold is not None:
        return {}
    evidence = pd.read_parquet(paths.certificate_evidence)
    asked = _asked(paths, params, evidence)
    slices, promise = in_labels(asked["slices"], params.certificate, certificate.sensitivity)
    at_of = {s.session_id: s.events[-1].at for s in sessions_of(paths, "calibrate")["calibrate"]}
    stream = LabelStream(
        *_columns(evidence), at_of, slices, promise, cuts_C=asked["cuts_C"], action_type_N=asked["action_type_N"]
    )
    try:
        made = forecast(stream, max(at_of.values()), seed=SEED)
    except CertificateError:
        return {"forecast": "none: the sessions' times give no rate"}
    rate = f"at {made.sessions_a_day:.1f} labelled sessions a day"
    if (day := made.day()) is None:
        return {"forecast": f"not to be expected at the error seen, {rate}"}
    latest = "open" if made.latest is None else f"{made.latest:.0f}"
    interval = f"{made.days:.0f} days after the last label ({made.earliest:.0f} … {latest})"
    return {"forecast": f"about {day:%Y-%m-%d}, {rate}: {interval}"}


def _facts_of_bound(bound: Bound, prefix: str) -> dict[str, Any]:
    facts: dict[str, Any] = {f"{bound.unit}_coverage": bound.coverage, f"{bound.unit}_alpha": bound.alpha}
    facts |= {f"{bound.unit}s_labelled": bound.n, f"{bound.unit}s_wrong_above": bound.n_wrong}
    if bound.upper is not None:
        facts[f"{bound.unit}_risk_at_most"] = bound.upper
    if bound.refusal is not None:
        facts[f"{bound.unit}_refusal"] = _refusal(bound)
    return {f"{prefix}{name}": value for name, value in facts.items()}


def _refusal(bound: Bound) -> str:
    return f"{bound.refusal}" + (f", about {bound.labels_missing} more labels needed" if bound.labels_missing else "")


def _bindings(paths: ProcessPaths, params: ProcessParams) -> dict[str, Any]:
    return {
        "process_id": paths.process_id,
        "loss": ADJUDICATED_LOSS if params.certificate.adjudicated else LOSSES[params.feedback],
        "splits": split_digests(read_splits(paths.splits)),
        "policy_digest": folder_digest(paths.policy),
        "critic_digest": folder_digest(paths.critic),
    }


def _asked(paths: ProcessPaths, params: ProcessParams, evidence: pd.DataFrame) -> dict[str, Any]:
    """Beside scores and labels: the slices that the process schema asks for, cuts, procedures, who was trained on."""
    from selective_autonomy.certify.certify import session_digest
    from selective_autonomy.certify.slices import slices_of
    from selective_autonomy.critic.kinds import load_critic

    learned = ("train", "fit")
    return {
        "slices": slices_of(load_process(paths.schema), params.certificate.alpha),
        "action_type_N": evidence["action_type"].tolist(),
        "trained_on": {session_digest(i) for i, split in read_splits(paths.splits).items() if split in learned},
        "cuts_C": load_critic(paths.critic, policy=paths.policy).cuts(params.certificate.cuts),
        "procedures_of": dict(zip(evidence["session_id"], evidence["procedures"], strict=True)),
    }


def _columns(evidence: pd.DataFrame) -> tuple[NDArray[float64], NDArray[bool_], list[str]]:
    return evidence["p_accept"].to_numpy(), evidence["wrong"].to_numpy(), evidence["session_id"].tolist()
