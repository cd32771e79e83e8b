"""From scored, labelled critical steps to a certificate: thresholds with their promises, or a refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selective_autonomy.certify.certificate import Bound, Certificate, Slice
from selective_autonomy.certify.label_noise import Sensitivity, for_truth
from selective_autonomy.certify.sessions import certify_sessions, session_bound
from selective_autonomy.certify.slices import SliceSpec, certify_slices, one_slice, slice_codes
from selective_autonomy.certify.steps import StepTest
from selective_autonomy.errors import CertificateError
from selective_autonomy.params import CertificateParams
from selective_autonomy.process.schema import canonical_json

_STEP_ASSUMPTION = {
    "deflated": "steps: exact if the steps of a session are independent, approximately valid if they are clustered "
    "(effective sample size)",
    "betting": "steps: valid for any dependence inside sessions, if no session executes more steps than the most seen",
}


def certify(
    scores_N: ArrayLike,
    wrong_N: ArrayLike,
    session_of_N: Sequence[str],
    params: CertificateParams,
    *,
    process_id: str,
    loss: str,
    splits: dict[str, str],
    policy_digest: str,
    critic_digest: str,
    slices: Sequence[SliceSpec] | None = None,
    action_type_N: Sequence[str] | None = None,
    cuts_C: ArrayLike | None = None,
    step_test: StepTest = "deflated",
    sensitivity: Sensitivity | None = None,
    trained_on: Collection[str] = (),
    procedures_of: Mapping[str, Collection[str]] | None = None,
) -> Certificate:
    """Certify thresholds on the calibrate split.

    Guarantee: with probability at least 1 - params.delta over draws of the calibrate split, every promise of
    the certificate holds at the thresholds in force (delta is shared equally by steps and sessions; among slices as
    `selective_autonomy.certify.slices` says). The session promise is exact; a step promise is what
    `selective_autonomy.certify.steps` says of its test.
    Assumptions: sessions are independent draws of the population served; the policy and the critic have not
    seen them; nobody saw their labels before. Sees: calibrate only, once.

    A step executes from the stricter of its slice's and the session promise's threshold on. A slice's promise holds
    there only if that was tested, so its threshold is raised to the next cut that passed; where none did, the slice
    does not run. Session risk can only fall by either.

    Args:
        scores_N: `p_accept` of the critical steps, in [0, 1]. Empty gives a refusal.
        wrong_N: 0 / 1 or bool. All equal is no error: all right may certify, all wrong refuses.
        session_of_N: each step's session id. Steps in any order: the certificate does not depend on it.
        slices: action types with their alphas (`slices_of`). None: one slice of all action types at params.alpha.
        action_type_N: each step's; needed where there is more than one slice.
        cuts_C: thresholds fixed before this split was looked at (`Critic.cuts`). None: quantiles of
            these scores; label-free, but no longer independent of the steps that are counted above them.
        step_test: "betting" where the step promise must hold at every sample size, at a cost in coverage.
        sensitivity: the labels are confirmed errors (`label_noise.confirmed_wrong`), and the promise is made about
            truly wrong steps, with the further assumptions of `label_noise.for_truth`.
        trained_on: `session_digest` of every session that policy or critic learned from.
        procedures_of: session id -> the procedures it had open. The certificate is about these alone; None: about
            sessions of any procedure, which is right only if none will be met that was not drawn from here.

    Raises:
        CertificateError: lengths differ, a score is NaN or outside [0, 1], a label is not 0 / 1, a step is of an
            action type in no slice, or the probes of `sensitivity` were all missed; or a session is among
            `trained_on`, or not in `procedures_of`.
    """
    learned = frozenset(trained_on)
    shared = sorted(s for s in set(session_of_N) if session_digest(s) in learned) if learned else []
    if shared:
        raise CertificateError(
            f"{len(shared)} sessions to certify on were trained on, {shared[0]!r} among them; expected none, for they "
            "say nothing about what a model has not seen: split again and train again"
        )
    asked = one_slice(params.alpha) if slices is None else tuple(slices)
    promised = {"step": max(one.alpha for one in asked)}
    if params.alpha_session is not None:
        promised["session"] = params.alpha_session
    specs, params = in_labels(asked, params, sensitivity)
    slice_N = slice_codes(specs, action_type_N, len(session_of_N))
    scores, wrong, session, ids, order = _checked(scores_N, wrong_N, session_of_N, slice_N)
    slice_N = slice_N[order]
    cuts = None if cuts_C is None else _checked_cuts(cuts_C)
    delta = params.delta / (1 if params.alpha_session is None else 2)
    # Sessions allow far stricter thresholds only (STAR, alpha 0.10: 11 % of the steps against 38 %). Certified for
    # both at 0.10 in 60 resamples of 354 sessions: both ways 8.7 % of the steps, from the strictest on 6.3 %.
    both_ways = params.alpha_session is not None
    tested = certify_slices(
        scores, wrong, session, slice_N, specs, delta, step_test, cuts=params.cuts, cuts_C=cuts, both_ways=both_ways
    )
    whole = None
    if params.alpha_session is not None:
        whole = certify_sessions(scores, wrong, session, params.alpha_session, delta)
    in_force = tested.in_force(whole.threshold or 0.0 if whole is not None else 0.0)
    if whole is not None and whole.threshold is not None:
        whole = _under_thresholds(whole, in_force, scores, wrong, session, slice_N)
    return Certificate(
        process_id=process_id,
        loss=loss,
        slices=in_force,
        session=whole,
        procedures=None if procedures_of is None else _procedures(ids, procedures_of),
        splits=dict(splits),
        policy_digest=policy_digest,
        critic_digest=critic_digest,
        scores_digest=_scores_digest(scores, wrong, session, slice_N, ids, cuts, params.cuts),
        assumptions=(
            "sessions are independent draws of the population served, unseen by policy and critic",
            "the steps before a step were done as in the calibrate split: by people",
            "a label says whether the step was wrong (no label noise)"
            if sensitivity is None
            else "a wrong step is rejected as often as a planted one, and who confirms it is right",
            _STEP_ASSUMPTION[step_test],
            "cuts: quantiles of the calibrate scores, label-free"
            if cuts_C is None
            else "cuts: fixed before the calibrate split was looked at",
        ),
        sensitivity=sensitivity,
        promised=promised,
    )


def in_labels(
    specs: tuple[SliceSpec, ...], params: CertificateParams, sensitivity: Sensitivity | None
) -> tuple[tuple[SliceSpec, ...], CertificateParams]:
    """What must hold of the labels so that `specs` and `params` hold in truth (`label_noise.for_truth`)."""
    if sensitivity is None:
        return specs, params
    lowered = for_truth(params, sensitivity)
    share = lowered.alpha / params.alpha
    return tuple(one.model_copy(update={"alpha": one.alpha * share}) for one in specs), lowered


def session_digest(session_id: str) -> str:
    """sha256 of a session's id: tells whether two splits share a session without showing which sessions there are."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def verify_certificate(
    certificate: Certificate,
    scores_N: ArrayLike,
    wrong_N: ArrayLike,
    session_of_N: Sequence[str],
    params: CertificateParams,
    *,
    slices: Sequence[SliceSpec] | None = None,
    action_type_N: Sequence[str] | None = None,
    trained_on: Collection[str] = (),
    cuts_C: ArrayLike | None = None,
    step_test: StepTest = "deflated",
    procedures_of: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Recompute a certificate from its evidence.

    Raises:
        CertificateError: the evidence is not what the certificate was made from, or gives another certificate;
            the message names every field that differs.
    """
    again = certify(
        scores_N,
        wrong_N,
        session_of_N,
        params,
        process_id=certificate.process_id,
        loss=certificate.loss,
        splits=certificate.splits,
        policy_digest=certificate.policy_digest,
        critic_digest=certificate.critic_digest,
        slices=slices,
        action_type_N=action_type_N,
        trained_on=trained_on,
        cuts_C=cuts_C,
        step_test=step_test,
        sensitivity=certificate.sensitivity,
        procedures_of=procedures_of,
    )
    stated, found = certificate.model_dump(mode="json"), again.model_dump(mode="json")
    differing = sorted(name for name in stated if stated[name] != found[name])
    if differing:
        raise CertificateError(
            f"certificate {certificate.id} does not follow from this evidence: {differing} differ; "
            f"stated {[stated[d] for d in differing]}, recomputed {[found[d] for d in differing]}; "
            "check that scores, labels and parameters are those it was made from"
        )


def _procedures(session_ids: Sequence[str], procedures_of: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    unknown = [session_id for session_id in session_ids if session_id not in procedures_of]
    if unknown:
        raise CertificateError(
            f"{len(unknown)} sessions to certify on have no procedures, {unknown[0]!r} among them; give those of all"
        )
    return tuple(sorted({str(one) for session_id in session_ids for one in procedures_of[session_id]}))


def _under_thresholds(
    bound: Bound,
    in_force: Sequence[Slice],
    scores_N: NDArray[np.float64],
    wrong_N: NDArray[np.bool_],
    session_N: NDArray[np.int64],
    slice_N: NDArray[np.int64],
) -> Bound:
    """The session bound for what executes at the slices' thresholds, all at or above its own."""
    thresholds = [np.inf if one.threshold is None else one.threshold for one in in_force]
    if np.isinf(thresholds).all():
        return bound
    executed_N = scores_N >= np.array(thresholds)[slice_N]
    return session_bound(min(thresholds), executed_N, wrong_N, session_N, bound.alpha, bound.delta)


def _checked(
    scores_N: ArrayLike, wrong_N: ArrayLike, session_of_N: Sequence[str], slice_N: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64], list[str], NDArray[np.int64]]:
    """Validated arrays in one canonical order, session codes, the session ids behind the codes, and that order.

    Sessions are coded in the order of the sha256 of their ids: the same for any order of the input, and
    unrelated to labels, as the betting test needs.
    """
    scores = np.asarray(scores_N, dtype=np.float64)
    labels = np.asarray(wrong_N)
    if scores.ndim != 1 or labels.shape != scores.shape or len(session_of_N) != scores.size:
        raise CertificateError(
            f"scores, labels and session ids must be one-dimensional and equally long; "
            f"got {scores.shape}, {labels.shape}, {len(session_of_N)}"
        )
    if not bool(np.all((scores >= 0) & (scores <= 1))):
        bad = int(np.flatnonzero(~((scores >= 0) & (scores <= 1)))[0])
        raise CertificateError(f"score {bad} is {scores[bad]!r}; expected a number in [0, 1]: repair the critic")
    if scores.size and not bool(np.all((labels == 0) | (labels == 1))):
        bad = int(np.flatnonzero(~((labels == 0) | (labels == 1)))[0])
        raise CertificateError(f"label {bad} is {labels[bad]!r}; expected 0 (right) or 1 (wrong)")
    ids = sorted(set(session_of_N), key=session_digest)
    code = {session_id: i for i, session_id in enumerate(ids)}
    session = np.fromiter((code[s] for s in session_of_N), dtype=np.int64, count=scores.size)
    wrong = labels.astype(bool)
    order = np.lexsort((wrong, scores, slice_N, session))
    return scores[order], wrong[order], session[order], ids, order


def _checked_cuts(cuts_C: ArrayLike) -> NDArray[np.float64]:
    cuts = np.unique(np.asarray(cuts_C, dtype=np.float64))[::-1]
    if not cuts.size or not bool(np.all((cuts >= 0) & (cuts <= 1))):
        raise CertificateError(f"cuts must be at least one number in [0, 1]; got {cuts_C!r}")
    return cuts


def _scores_digest(
    scores_N: NDArray[np.float64],
    wrong_N: NDArray[np.bool_],
    session_N: NDArray[np.int64],
    slice_N: NDArray[np.int64],
    ids: list[str],
    cuts_C: NDArray[np.float64] | None,
    cuts: int,
) -> str:
    """sha256 over session ids, rows (session, slice, score, label) in canonical order, and cuts or their number."""
    digest = hashlib.sha256(canonical_json([ids, cuts if cuts_C is None else cuts_C.tolist()]).encode())
    for column in (session_N.astype("<i8"), slice_N.astype("<i8"), scores_N.astype("<f8"), wrong_N.astype("u1")):
        digest.update(column.tobytes())
    return digest.hexdigest()
