from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selective_autonomy.certify.binomial import upper_limit
from selective_autonomy.certify.certificate import Certificate
from selective_autonomy.certify.certify import certify, session_digest, verify_certificate
from selective_autonomy.certify.label_noise import Sensitivity
from selective_autonomy.certify.sessions import certify_sessions
from selective_autonomy.errors import CertificateError
from selective_autonomy.params import CertificateParams

PARAMS = CertificateParams(alpha=0.1, alpha_session=0.2, delta=0.1, cuts=20)
STEPS_ONLY = PARAMS.model_copy(update={"alpha_session": None})
ABOUT: dict[str, Any] = {
    "process_id": "p",
    "loss": "tool",
    "splits": {"calibrate": "c"},
    "policy_digest": "a",
    "critic_digest": "b",
}


def draw(seed: int, sessions: int = 120) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    session = np.repeat(np.arange(sessions), rng.integers(2, 12, sessions))
    x = rng.normal(size=session.size) + rng.normal(size=sessions)[session] / 2
    p = 1 / (1 + np.exp(-(2 + 2 * x)))
    return p, rng.random(session.size) > p, [f"s{s}" for s in session]


def bound(certificate: Certificate, unit: str) -> Any:
    """What the single slice may promise alone, or the promise about sessions."""
    return certificate.session if unit == "session" else certificate.slices[0].alone


def test_delta_is_shared_by_the_bounds_asked_for() -> None:
    assert [b.delta for b in certify(*draw(0), PARAMS, **ABOUT).bounds] == [0.05, 0.05]
    assert [b.delta for b in certify(*draw(0), STEPS_ONLY, **ABOUT).bounds] == [0.1]


def test_a_bound_counts_what_its_threshold_executes() -> None:
    scores, wrong, session = draw(0)
    step = bound(certify(scores, wrong, session, STEPS_ONLY, **ABOUT), "step")
    executed = scores >= step.threshold
    assert (step.n, step.n_executed, step.n_wrong) == (scores.size, executed.sum(), wrong[executed].sum())
    assert step.coverage == pytest.approx(executed.mean())
    assert step.n_wrong / step.n_executed < step.upper <= 0.1


def test_the_certificates_threshold_was_tested_for_steps_as_well_as_for_sessions() -> None:
    scores, wrong, session = draw(3)
    certificate = certify(scores, wrong, session, PARAMS, **ABOUT)
    step, whole = bound(certificate, "step"), bound(certificate, "session")
    assert step.threshold < whole.threshold == certificate.threshold
    deciles = np.sort(scores)[::-1][(np.ceil(np.arange(1, 21) * scores.size / 20) - 1).astype(int)]
    assert certificate.threshold in deciles
    assert whole.upper <= 0.2


def test_the_session_threshold_is_the_lowest_that_keeps_the_allowance() -> None:
    scores, wrong, session = draw(4)
    code = np.unique(session, return_inverse=True)[1]
    got = certify_sessions(scores, wrong, code, 0.2, 0.05)
    lower = scores[scores < got.threshold].max()
    lost = np.unique(code[(scores >= lower) & wrong]).size
    assert got.upper <= 0.2 < upper_limit(lost, got.n, 0.05)


def test_a_refused_bound_refuses_the_whole_certificate() -> None:
    scores, wrong, session = draw(0)
    certificate = certify(scores, wrong, session, PARAMS.model_copy(update={"alpha_session": 1e-3}), **ABOUT)
    assert bound(certificate, "step").threshold is not None
    assert bound(certificate, "session").refusal == "too_few_labels"
    assert certificate.threshold is None


def test_no_labels_are_refused_with_the_number_that_would_do() -> None:
    certificate = certify([], [], [], STEPS_ONLY, **ABOUT)
    assert certificate.threshold is None
    assert certificate.bounds[0].refusal == "too_few_labels"
    assert certificate.bounds[0].labels_missing == 22  # 0.9 ** 22 <= 0.1


def test_all_wrong_is_refused_for_good() -> None:
    scores, _, session = draw(0)
    certificate = certify(scores, np.ones(scores.size), session, PARAMS, **ABOUT)
    assert certificate.threshold is None
    assert (bound(certificate, "step").refusal, bound(certificate, "step").labels_missing) == ("error_too_high", None)


def test_one_wrong_score_in_every_session_refuses_sessions_for_good() -> None:
    code = np.repeat(np.arange(100), 3)
    got = certify_sessions(np.full(300, 0.8), np.arange(300) % 3 == 0, code, 0.2, 0.05)
    assert (got.threshold, got.refusal, got.labels_missing) == (None, "error_too_high", None)


def test_all_right_certifies_everything_once_there_are_enough_labels() -> None:
    scores, _, session = draw(0)
    certificate = certify(scores, np.zeros(scores.size), session, PARAMS, **ABOUT)
    assert certificate.threshold == scores.min()
    assert certify([0.9] * 5, [0] * 5, list("abcde"), STEPS_ONLY, **ABOUT).bounds[0].refusal == "too_few_labels"


def test_ties_everywhere_execute_all_or_nothing() -> None:
    session = [str(i // 4) for i in range(400)]
    right = certify([0.7] * 400, [0] * 396 + [1] * 4, session, STEPS_ONLY, **ABOUT)
    assert (right.threshold, right.bounds[0].coverage) == (0.7, 1.0)
    wrong = certify([0.7] * 400, [0, 1] * 200, session, STEPS_ONLY, **ABOUT)
    assert wrong.bounds[0].refusal == "error_too_high"


def test_the_labels_said_to_be_missing_are_about_enough() -> None:
    scores, wrong, session = draw(11, sessions=14)
    missing = certify(scores, wrong, session, STEPS_ONLY, **ABOUT).bounds[0].labels_missing
    assert missing is not None
    times = -(-(scores.size + missing) // scores.size) + 1
    many = [f"{copy}-{s}" for copy in range(times) for s in session]
    assert certify(np.tile(scores, times), np.tile(wrong, times), many, STEPS_ONLY, **ABOUT).threshold is not None


@pytest.mark.parametrize("score", [np.nan, -0.01, 1.01, np.inf])
def test_a_score_that_is_no_probability_is_refused(score: float) -> None:
    with pytest.raises(CertificateError, match="score 1"):
        certify([0.5, score], [0, 1], ["a", "b"], PARAMS, **ABOUT)


@pytest.mark.parametrize("label", [np.nan, 2, -1, 0.5])
def test_a_label_that_is_not_zero_or_one_is_refused(label: float) -> None:
    with pytest.raises(CertificateError, match="label 1"):
        certify([0.5, 0.6], [0, label], ["a", "b"], PARAMS, **ABOUT)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(CertificateError, match="equally long"):
        certify([0.5, 0.6], [0, 1], ["a"], PARAMS, **ABOUT)
    with pytest.raises(CertificateError, match="equally long"):
        certify([0.5, 0.6], [0], ["a", "b"], PARAMS, **ABOUT)


def test_cuts_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(CertificateError, match="cuts"):
        certify(*draw(0), PARAMS, **ABOUT, cuts_C=[0.5, np.nan])


def test_cuts_fixed_before_are_the_only_thresholds_for_steps() -> None:
    certificate = certify(*draw(0), STEPS_ONLY, **ABOUT, cuts_C=[0.9, 0.99])
    assert certificate.threshold in (0.9, 0.99)
    assert any("before the calibrate split was looked at" in a for a in certificate.assumptions)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), test=st.sampled_from(["deflated", "betting"]))
def test_the_order_of_the_rows_does_not_matter(seed: int, test: Any) -> None:
    scores, wrong, session = draw(seed % 7, sessions=60)
    order = np.random.default_rng(seed).permutation(scores.size)
    shuffled = certify(scores[order], wrong[order], [session[i] for i in order], PARAMS, **ABOUT, step_test=test)
    assert shuffled == certify(scores, wrong, session, PARAMS, **ABOUT, step_test=test)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 30), alpha=st.floats(0.03, 0.3), more=st.floats(1.0, 2.0))
def test_a_session_promise_that_is_looser_executes_no_less(seed: int, alpha: float, more: float) -> None:
    scores, wrong, session = draw(seed, sessions=80)
    code = np.unique(session, return_inverse=True)[1]
    strict = certify_sessions(scores, wrong, code, alpha, 0.05)
    loose = certify_sessions(scores, wrong, code, alpha * more, 0.05)
    assert loose.coverage >= strict.coverage


def test_a_certificate_follows_from_its_own_evidence() -> None:
    scores, wrong, session = draw(0)
    certificate = certify(scores, wrong, session, PARAMS, **ABOUT)
    verify_certificate(certificate, scores, wrong, session, PARAMS)
    again = Certificate.model_validate_json(certificate.model_dump_json())
    verify_certificate(again, scores, wrong, session, PARAMS)
    assert again.id == certificate.id


def test_other_evidence_is_found_out() -> None:
    scores, wrong, session = draw(0)
    certificate = certify(scores, wrong, session, PARAMS, **ABOUT)
    flipped = wrong.copy()
    flipped[0] = not flipped[0]
    for evidence in (
        (scores * 0.999, wrong, session),
        (scores, flipped, session),
        (scores, wrong, ["x", *session[1:]]),
    ):
        with pytest.raises(CertificateError, match="scores_digest"):
            verify_certificate(certificate, *evidence, PARAMS)
    with pytest.raises(CertificateError, match="slices"):
        verify_certificate(certificate, scores, wrong, session, STEPS_ONLY)


def test_a_certificate_with_a_lowered_threshold_is_found_out() -> None:
    scores, wrong, session = draw(0)
    honest = certify(scores, wrong, session, STEPS_ONLY, **ABOUT)
    lowered = honest.slices[0].model_copy(update={"step": honest.slices[0].step.model_copy(update={"threshold": 0.01})})
    with pytest.raises(CertificateError, match="slices"):
        verify_certificate(honest.model_copy(update={"slices": (lowered,)}), scores, wrong, session, STEPS_ONLY)


def test_a_session_that_was_trained_on_is_refused_by_its_hash() -> None:
    rows = draw(0)
    others = {session_digest(f"other-{n}") for n in range(50)}
    assert certify(*rows, PARAMS, **ABOUT, trained_on=others) == certify(*rows, PARAMS, **ABOUT)
    with pytest.raises(CertificateError, match="1 sessions to certify on were trained on, 's7'"):
        certify(*rows, PARAMS, **ABOUT, trained_on=others | {session_digest("s7")})


def test_a_promise_about_the_truth_says_what_it_rests_on_and_is_verified_with_it() -> None:
    rows = draw(0)
    probes = Sensitivity(planted=200, caught=180)
    about_truth = certify(*rows, PARAMS, **ABOUT, sensitivity=probes)
    assert about_truth.promised == {"step": 0.1, "session": 0.2}
    assert all(b.alpha < 0.9 * about_truth.promised[b.unit] for b in about_truth.bounds)
    verify_certificate(about_truth, *rows, PARAMS)
    more_caught = about_truth.model_copy(update={"sensitivity": Sensitivity(planted=200, caught=200)})
    with pytest.raises(CertificateError, match="slices"):
        verify_certificate(more_caught, *rows, PARAMS)
    with pytest.raises(CertificateError, match="plant more probes"):
        certify(*rows, PARAMS, **ABOUT, sensitivity=Sensitivity(planted=30, caught=0))


def test_a_certificate_is_about_the_procedures_of_its_labelled_sessions() -> None:
    rows = draw(0, sessions=60)
    opened = {f"s{s}": ("refund", "move") if s % 2 else ("move",) for s in range(60)} | {"not among them": ("loan",)}
    made = certify(*rows, PARAMS, **ABOUT, procedures_of=opened)
    assert made.procedures == ("move", "refund")
    assert made.covers(("move",))
    assert made.covers(("refund", "move"))
    assert not made.covers(("loan",))
    assert not made.covers(("move", "loan"))
    everything = certify(*rows, PARAMS, **ABOUT)
    assert everything.covers(("loan",))
    assert made.id != everything.id
    nothing = certify([], [], [], PARAMS, **ABOUT, procedures_of={})
    assert not nothing.covers(("move",))


def test_procedures_that_the_evidence_does_not_have_are_found_and_missing_ones_refused() -> None:
    rows = draw(0, sessions=60)
    opened = {f"s{s}": ("move",) for s in range(60)}
    made = certify(*rows, PARAMS, **ABOUT, procedures_of=opened)
    verify_certificate(made, *rows, PARAMS, procedures_of=opened)
    for altered, evidence in (
        (made.model_copy(update={"procedures": ("loan", "move")}), opened),
        (made.model_copy(update={"procedures": None}), opened),
        (made, {**opened, "s7": ("loan",)}),
        (made, None),
    ):
        with pytest.raises(CertificateError, match="'procedures'"):
            verify_certificate(altered, *rows, PARAMS, procedures_of=evidence)
    with pytest.raises(CertificateError, match="1 sessions to certify on have no procedures, 's7'"):
        certify(*rows, PARAMS, **ABOUT, procedures_of={s: p for s, p in opened.items() if s != "s7"})
