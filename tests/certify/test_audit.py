"""The audit draw: the same whenever it is asked, and refused where it could prove nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selective_autonomy.certify.audit import AuditDraw, AuditRates, draw_audit, is_replayed
from selective_autonomy.errors import CertificateError

KEY = bytes(range(32))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=1, max_size=9), st.randoms())
def test_a_draw_does_not_depend_on_what_was_drawn_before(steps: list[tuple[str, str]], order: object) -> None:
    first = {step: draw_audit(KEY, *step, 0.3) for step in steps}
    shuffled = list(steps)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert {step: draw_audit(KEY, *step, 0.3) for step in shuffled} == first


@given(st.text(), st.text(), st.floats(0, 1, exclude_min=True))
def test_a_draw_survives_json_and_is_replayed_by_its_key_alone(session: str, step: str, probability: float) -> None:
    draw = AuditDraw.model_validate_json(draw_audit(KEY, session, step, probability).model_dump_json())
    assert is_replayed(draw, KEY, session, step)
    assert not is_replayed(draw, KEY[::-1], session, step)
    assert not is_replayed(draw, KEY, session, step + "x")


def test_at_rate_one_every_step_is_drawn() -> None:
    assert all(draw_audit(KEY, "s", str(n), 1.0).drawn for n in range(200))


def test_a_draw_that_contradicts_its_digest_is_refused() -> None:
    draw = draw_audit(KEY, "s", "1", 0.5)
    with pytest.raises(ValueError, match="does not follow"):
        AuditDraw(drawn=not draw.drawn, probability=0.5, digest=draw.digest)


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.1, math.nan])
def test_a_probability_that_audits_nothing_or_means_nothing_is_refused(probability: float) -> None:
    with pytest.raises(CertificateError, match="probability"):
        draw_audit(KEY, "s", "1", probability)


@pytest.mark.parametrize("key", [b"", b"short"])
def test_a_key_that_can_be_guessed_is_refused(key: bytes) -> None:
    with pytest.raises(CertificateError, match="16"):
        draw_audit(key, "s", "1", 0.5)


def test_doubtful_and_costly_steps_are_audited_more_often() -> None:
    rates = AuditRates(least=0.05, doubtful=0.45, actions={"close_chat": 0.3})
    assert rates.of("click_control", 0.8, 0.8) == pytest.approx(0.45)
    assert rates.of("click_control", 0.9, 0.8) == pytest.approx(0.25)
    assert rates.of("click_control", 1.0, 0.8) == pytest.approx(0.05)
    assert rates.of("close_chat", 1.0, 0.8) == pytest.approx(0.3)
    assert rates.of("click_control", 1.0, 1.0) == pytest.approx(0.05)
    assert rates.of("click_control", math.nan, 0.8) == pytest.approx(0.05)


@pytest.mark.parametrize(
    "bad",
    [{"least": 0.0}, {"least": math.nan}, {"doubtful": 0.01}, {"actions": {"close_chat": 0.0}}, {"doubtful": 1.2}],
)
def test_rates_below_the_stated_least_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"rate|least|doubtful"):
        AuditRates.model_validate({"least": 0.05, **bad})
