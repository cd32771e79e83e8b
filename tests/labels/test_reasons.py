from __future__ import annotations

import math

import pytest

from selective_autonomy.errors import CertificateError
from selective_autonomy.labels.reasons import ANSWERS, markdown, reasons

WHO = ["a", "a", "a", "b", "b"]
ACCEPTED = [True, False, False, True, False]
REASONS = [None, "wrong", "acceptable", None, None]


def test_shares_sum_to_one_for_the_crew_and_for_each_operator() -> None:
    crew, each = reasons(WHO, ACCEPTED, REASONS)
    assert crew.n == 5
    for one in (crew, *each.values()):
        assert sum(figure.value for figure in one.shares.values()) == pytest.approx(1.0)
        assert tuple(one.shares) == ANSWERS
    assert each["a"].shares["acceptable"].value == pytest.approx(1 / 3)
    assert each["b"].shares["no_reason"].value == 0.5
    assert crew.shares["environment"].low == 0.0 < crew.shares["environment"].high < 1.0


def test_the_table_has_a_row_for_the_crew_and_each_operator() -> None:
    crew, each = reasons(WHO, ACCEPTED, REASONS)
    lines = markdown({"all": crew, **each}).splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["operator", "---", "all", "a", "b"]
    assert len({line.count("|") for line in lines}) == 1


def test_no_feedback_has_no_shares() -> None:
    crew, each = reasons([], [], [])
    assert (crew.n, each) == (0, {})
    assert all(math.isnan(figure.value) for figure in crew.shares.values())


@pytest.mark.parametrize(
    ("who", "accepted", "reason"),
    [(["a"], [True], ["wrong"]), (["a"], [False], ["tired"]), (["a"], [True, True], [None])],
    ids=["an accept with a reason", "an unknown reason", "another number"],
)
def test_contradictory_feedback_is_refused(who: list[str], accepted: list[bool], reason: list[str | None]) -> None:
    with pytest.raises(CertificateError):
        reasons(who, accepted, reason)
