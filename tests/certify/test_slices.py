"""Slices: each its own alpha, delta kept for all together, the pool for small ones, one session promise above them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from selective_autonomy.certify.certificate import Certificate
from selective_autonomy.certify.certify import certify, verify_certificate
from selective_autonomy.certify.slices import SliceSpec, one_slice, slices_of
from selective_autonomy.desk.process import load_desk_process
from selective_autonomy.errors import CertificateError
from selective_autonomy.params import CertificateParams
from selective_autonomy.process.schema import ActionTier

PARAMS = CertificateParams(alpha=0.1, alpha_session=None, delta=0.1, cuts=10)
LOOSE = SliceSpec(name="loose", alpha=0.2, action_types=("submit_form", "send_reply"))
STRICT = SliceSpec(name="strict", alpha=0.05, action_types=("close_chat",))
RARE = SliceSpec(name="rare", alpha=0.1, action_types=("transfer_chat",))
TYPES = np.array(["submit_form", "close_chat", "transfer_chat"])
ABOUT: dict[str, Any] = {"process_id": "p", "loss": "l", "splits": {}, "policy_digest": "a", "critic_digest": "b"}
Rows = tuple[NDArray[np.float64], NDArray[np.bool_], list[str], list[str]]


def draw(rng: np.random.Generator, sessions: int, shares: tuple[float, ...], ease: float = 2.5) -> Rows:
    """A calibrated critic; steps of the types in these shares, 2 to 9 a session."""
    session_N = np.repeat(np.arange(sessions), rng.integers(2, 10, sessions))
    p_N = 1 / (1 + np.exp(-(ease + 1.5 * rng.normal(size=session_N.size))))
    types = TYPES[rng.choice(len(shares), size=session_N.size, p=shares)]
    return p_N, rng.random(p_N.size) > p_N, [f"s{s}" for s in session_N], types.tolist()


def certified(rows: Rows, specs: tuple[SliceSpec, ...], params: CertificateParams = PARAMS) -> Certificate:
    scores, wrong, session, types = rows
    return certify(scores, wrong, session, params, **ABOUT, slices=specs, action_type_N=types)


def test_a_process_with_one_alpha_has_one_slice_of_all_its_critical_action_types() -> None:
    [only] = slices_of(load_desk_process(), 0.1)
    assert only.alpha == 0.1
    assert "close_chat" in only.action_types
    assert "wait" not in only.action_types


def test_a_stricter_action_type_is_a_slice_of_its_own_and_the_certificates_alpha_caps_all() -> None:
    schema = load_desk_process()
    stricter = {**schema.actions, "close_chat": ActionTier(alpha=0.02)}
    schema = schema.model_copy(update={"actions": stricter})
    strict, rest = slices_of(schema, 0.1)
    assert (strict.alpha, strict.action_types, rest.alpha) == (0.02, ("close_chat",), 0.1)
    assert [one.alpha for one in slices_of(schema, 0.01)] == [0.01]


def test_one_slice_with_types_gives_what_no_slices_give() -> None:
    rows = draw(np.random.default_rng(1), 150, (0.6, 0.4, 0.0))
    alone = certify(*rows[:3], PARAMS, **ABOUT)
    assert certified(rows, one_slice(0.1)) == alone
    assert alone.slices[0].step.delta == 0.1


def test_a_stricter_slice_does_not_hold_back_the_others() -> None:
    rows = draw(np.random.default_rng(2), 1000, (0.7, 0.3, 0.0))
    certificate = certified(rows, (LOOSE, STRICT))
    loose, strict = certificate.threshold_of("submit_form"), certificate.threshold_of("close_chat")
    together = certify(*rows[:3], PARAMS.model_copy(update={"alpha": 0.05}), **ABOUT).threshold
    assert loose is not None
    assert strict is not None
    assert together is not None
    assert loose < together
    assert certificate.threshold == strict > loose
    assert certificate.threshold_of("transfer_chat") is None


def test_a_slice_that_passes_all_its_cuts_hands_its_delta_on() -> None:
    scores, wrong, session, types = draw(np.random.default_rng(3), 200, (0.5, 0.5, 0.0))
    easy_N = np.array(types) == "submit_form"
    all_right = certified((scores, wrong & ~easy_N, session, types), (LOOSE, STRICT))
    assert [one.alone.delta for one in all_right.slices] == pytest.approx([0.05, 0.1])
    all_wrong = certified((scores, wrong | easy_N, session, types), (LOOSE, STRICT))
    assert [one.alone.delta for one in all_wrong.slices] == pytest.approx([0.05, 0.05])


def test_a_slice_without_a_step_takes_no_delta_and_may_not_run() -> None:
    rows = draw(np.random.default_rng(4), 200, (1.0, 0.0, 0.0))
    certificate = certified(rows, (LOOSE, RARE))
    assert certificate.slices[0].alone.delta == 0.1
    assert (certificate.slices[1].step.refusal, certificate.slices[1].fallback) == ("too_few_labels", None)
    assert certificate.threshold_of("transfer_chat") is None


def few_and_many(seed: int = 5) -> Rows:
    return draw(np.random.default_rng(seed), 300, (0.98, 0.0, 0.02), ease=4.0)


def test_a_small_slice_runs_under_the_pool_and_no_lower_than_any_other_slice() -> None:
    many, few = certified(few_and_many(), (LOOSE, RARE)).slices
    assert many.fallback is None
    assert few.fallback == "pooled"
    assert few.alone.refusal == "too_few_labels"
    assert few.step.alpha == 0.1
    assert few.step.n == len(few_and_many()[3])
    assert few.threshold is not None
    assert many.threshold is not None
    assert few.threshold >= many.threshold


def test_no_pool_hides_a_slice_whose_errors_are_too_many() -> None:
    scores, wrong, session, types = few_and_many()
    certificate = certified((scores, wrong | (np.array(types) == "transfer_chat"), session, types), (LOOSE, RARE))
    assert certificate.slices[1].step.refusal == "error_too_high"
    assert certificate.threshold_of("transfer_chat") is None
    assert certificate.threshold_of("submit_form") is not None


def test_every_slice_runs_at_or_above_the_session_promise_and_was_tested_there() -> None:
    scores, wrong, session, types = draw(np.random.default_rng(6), 600, (0.7, 0.3, 0.0))
    both = PARAMS.model_copy(update={"alpha_session": 0.2})
    certificate = certified((scores, wrong, session, types), (LOOSE, STRICT), both)
    assert certificate.session is not None
    assert certificate.session.threshold is not None
    thresholds = [certificate.threshold_of(one.action_types[0]) for one in certificate.slices]
    assert certificate.session.threshold == min(t for t in thresholds if t is not None)
    for one in certificate.slices:
        assert one.threshold is None or one.alone.threshold is not None
        assert one.threshold is None or (one.threshold >= one.alone.threshold and one.step.upper <= one.step.alpha)
    executed_N = scores >= np.array([certificate.threshold_of(t) or np.inf for t in types])  # type: ignore[arg-type]
    lost = {s for s, e, w in zip(session, executed_N, wrong, strict=True) if e and w}
    assert certificate.session.n_wrong == len(lost)
    assert certificate.session.upper is not None
    assert certificate.session.upper <= 0.2


def test_a_slice_that_says_too_little_above_the_session_threshold_stops_and_the_others_run() -> None:
    rng = np.random.default_rng(7)
    scores, wrong, session, types = draw(rng, 500, (0.9, 0.1, 0.0))
    strict_N = np.array(types) == "close_chat"
    scores = np.where(strict_N, np.minimum(scores, 0.6), scores)  # the critic is never sure of these; they are right
    rows = (scores, wrong & ~strict_N, session, types)
    certificate = certified(rows, (LOOSE, STRICT), PARAMS.model_copy(update={"alpha_session": 0.1}))
    loose, strict = certificate.slices
    assert strict.alone.threshold is not None
    assert strict.threshold is None
    assert strict.step.refusal is not None
    assert loose.threshold is not None


def test_a_certificate_of_slices_follows_from_its_evidence_and_types_are_part_of_it() -> None:
    scores, wrong, session, types = draw(np.random.default_rng(8), 200, (0.5, 0.4, 0.1))
    specs = (LOOSE, STRICT, RARE)
    certificate = certified((scores, wrong, session, types), specs)
    again = Certificate.model_validate_json(certificate.model_dump_json())
    verify_certificate(again, scores, wrong, session, PARAMS, slices=specs, action_type_N=types)
    swapped = ["close_chat" if types[0] != "close_chat" else "submit_form", *types[1:]]
    with pytest.raises(CertificateError, match="scores_digest"):
        verify_certificate(again, scores, wrong, session, PARAMS, slices=specs, action_type_N=swapped)
    laxer = (LOOSE, STRICT.model_copy(update={"alpha": 0.1}), RARE)
    with pytest.raises(CertificateError, match="slices"):
        verify_certificate(again, scores, wrong, session, PARAMS, slices=laxer, action_type_N=types)
    order = np.random.default_rng(0).permutation(scores.size)
    shuffled = (scores[order], wrong[order], [session[i] for i in order], [types[i] for i in order])
    assert certified(shuffled, specs) == certificate


def test_steps_that_belong_to_no_slice_or_to_two_are_refused() -> None:
    rows = draw(np.random.default_rng(9), 20, (0.5, 0.5, 0.0))
    with pytest.raises(CertificateError, match=r"\['close_chat'\] are in no slice"):
        certified(rows, (LOOSE,))
    with pytest.raises(CertificateError, match="belongs to one slice"):
        certified(rows, (LOOSE, STRICT, STRICT))
    with pytest.raises(CertificateError, match="need the action type"):
        certify(*rows[:3], PARAMS, **ABOUT, slices=(LOOSE, STRICT))
    with pytest.raises(CertificateError, match="action types for"):
        certify(*rows[:3], PARAMS, **ABOUT, slices=(LOOSE, STRICT), action_type_N=rows[3][:-1])


@pytest.mark.parametrize(
    ("scores", "wrong", "refusal"),
    [
        (np.full(400, 0.7), np.zeros(400), None),
        (np.full(400, 0.7), np.ones(400), "error_too_high"),
        (np.full(400, 0.7), np.arange(400) // 2 % 2, "error_too_high"),
        (np.ones(4), np.zeros(4), "too_few_labels"),
        (np.zeros(400), np.zeros(400), "too_few_labels"),
    ],
    ids=["all right, ties", "all wrong, ties", "half wrong, ties", "fewer than could do", "all scores 0"],
)
def test_degenerate_labels_and_scores_have_a_defined_answer_in_every_slice(
    scores: NDArray[np.float64], wrong: NDArray[np.float64], refusal: str | None
) -> None:
    types = ["submit_form" if i % 2 else "close_chat" for i in range(scores.size)]
    session = [f"s{i // 4}" for i in range(scores.size)]
    certificate = certify(scores, wrong, session, PARAMS, **ABOUT, slices=(LOOSE, STRICT), action_type_N=types)
    assert [one.step.refusal for one in certificate.slices] == [refusal, refusal]
    assert (certificate.threshold is None) == (refusal is not None)


DRAWS, SLACK = 150, 2 * np.sqrt(0.1 * 0.9 / 150)


def broken_promises(certificate: Certificate, population: Rows, alphas: dict[str, float], whole: float | None) -> bool:
    """Whether any promise in force is false in the population: of a slice, of the pool, of sessions."""
    scores, wrong, session, types = population
    at = {t: certificate.threshold_of(t) for t in TYPES.tolist()}  # type: ignore[arg-type]
    executed_N = scores >= np.array([np.inf if at[t] is None else at[t] for t in types], dtype=np.float64)
    broken = False
    for one in certificate.slices:
        threshold = certificate.threshold_of(one.action_types[0])
        if threshold is None:
            continue
        mine_N = executed_N & np.isin(types, one.action_types)
        if one.fallback == "pooled":
            mine_N = executed_N & (scores >= threshold)
        broken |= bool(wrong[mine_N].mean() > (min(alphas.values()) if one.fallback else alphas[one.name]))
    if whole is not None and executed_N.any():
        lost = len({s for s, e in zip(session, executed_N & wrong, strict=True) if e})
        broken |= lost / len(set(session)) > whole
    return broken


def flat(rng: np.random.Generator, sessions: int, risks: tuple[float, ...], shares: tuple[float, ...]) -> Rows:
    """True risks that do not fall with the score: every cut of a slice is exactly as wrong as the slice."""
    session_N = np.repeat(np.arange(sessions), rng.integers(2, 10, sessions))
    kind_N = rng.choice(len(shares), size=session_N.size, p=shares)
    scores = rng.uniform(0.98, 1.0, session_N.size)  # by the critic's word all would pass: none is small
    wrong = rng.random(session_N.size) < np.array(risks)[kind_N]
    return scores, wrong, [f"s{s}" for s in session_N], TYPES[kind_N].tolist()


def test_slices_whose_risk_is_just_above_alpha_are_certified_in_at_most_delta_of_draws_together() -> None:
    rng, certified_any = np.random.default_rng(11), 0
    for _ in range(60):
        rows = flat(rng, 80, (0.2, 0.05, 0.1), (0.4, 0.3, 0.3))
        certificate = certified(rows, (LOOSE, STRICT, RARE))
        certified_any += any(one.threshold is not None for one in certificate.slices)
    assert certified_any / 60 <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 60)


def test_a_slice_at_alpha_beside_one_that_hands_on_its_delta_is_certified_in_at_most_delta_of_draws() -> None:
    rng, wrongly = np.random.default_rng(12), 0
    for _ in range(DRAWS):
        certificate = certified(flat(rng, 80, (0.01, 0.05, 0.0), (0.5, 0.5, 0.0)), (LOOSE, STRICT))
        assert certificate.slices[0].threshold is not None
        assert certificate.slices[1].fallback is None
        wrongly += certificate.slices[1].threshold is not None
    assert 0.02 <= wrongly / DRAWS <= 0.1 + SLACK


def test_a_pool_at_alpha_is_certified_in_at_most_delta_of_draws() -> None:
    rng, wrongly = np.random.default_rng(13), 0
    for _ in range(DRAWS):
        certificate = certified(flat(rng, 80, (0.1, 0.0, 0.1), (0.97, 0.0, 0.03)), (LOOSE, RARE))
        wrongly += certificate.slices[1].threshold is not None
    assert wrongly / DRAWS <= 0.1 + SLACK


def test_slices_pool_and_sessions_together_break_a_promise_in_at_most_delta_of_draws_and_cover_something() -> None:
    both = PARAMS.model_copy(update={"alpha_session": 0.25})
    specs, shares = (LOOSE, STRICT, RARE), (0.68, 0.3, 0.02)
    population = draw(np.random.default_rng(99), 8_000, shares)
    rng, broken, running = np.random.default_rng(14), 0, np.zeros(3)
    for _ in range(100):
        certificate = certified(draw(rng, 400, shares), specs, both)
        broken += broken_promises(certificate, population, {s.name: s.alpha for s in specs}, 0.25)
        running += [certificate.threshold_of(s.action_types[0]) is not None for s in specs]
    assert broken / 100 <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 100)
    assert running[0] > 80
