"""Learning curves: the first sessions of a procedure, nested, and never what is measured."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hand_made import HELLO, session
from hypothesis import given, settings
from hypothesis import strategies as st

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.accuracy import LevelFigures
from selective_autonomy.evaluation.curves import CurvePoint, LearningCurve, measured_sessions, stretches
from selective_autonomy.evaluation.intervals import Figure
from selective_autonomy.traces.splits import Split

# Trained later than named: the order is that of time.
OWN = [session(f"own {i}", [HELLO], procedures=("sleep",), day=9 - i) for i in range(6)]
OTHERS = [session(f"other {i}", [HELLO], procedures=("eat",)) for i in range(4)]
TEST = [session(f"test {i}", [HELLO], procedures=("eat", "sleep"), day=20) for i in range(2)]
SESSIONS = [*OWN, *OTHERS, *TEST]
SPLITS: dict[str, Split] = {one.session_id: "test" if one in TEST else "train" for one in SESSIONS}


def test_a_curve_takes_the_first_sessions_of_the_procedure_and_at_last_all_of_them() -> None:
    found = stretches(SESSIONS, SPLITS, "sleep", (2, 4, 100), beside=False)
    assert [(one.own, one.others, len(one.train)) for one in found] == [(2, 0, 2), (4, 0, 4), (6, 0, 6)]
    assert [one.session_id for one in found[0].train] == ["own 5", "own 4"]


def test_beside_the_others_a_curve_begins_without_any_session_of_its_own() -> None:
    found = stretches(SESSIONS, SPLITS, "sleep", (2,), beside=True)
    assert [(one.own, one.others) for one in found] == [(0, 4), (2, 4), (6, 4)]
    assert not any("sleep" in one.procedures for one in found[0].train)


def test_what_is_measured_are_the_test_sessions_with_the_procedure_open() -> None:
    assert measured_sessions(SESSIONS, SPLITS, "sleep") == TEST


def test_a_procedure_without_sessions_is_refused_with_those_that_have_some() -> None:
    with pytest.raises(SplitError, match=r"no test session has procedure 'fly' open; expected one of \['eat', 'slee"):
        measured_sessions(SESSIONS, SPLITS, "fly")
    with pytest.raises(SplitError, match="no train session has procedure 'fly'"):
        stretches(SESSIONS, SPLITS, "fly", (1,), beside=False)
    with pytest.raises(SplitError, match="no other procedures"):
        stretches(OWN, SPLITS, "sleep", (1,), beside=True)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1), st.booleans())
def test_every_stretch_holds_the_one_before_it_and_nothing_that_is_measured(sizes: list[int], beside: bool) -> None:
    found = stretches(SESSIONS, SPLITS, "sleep", sizes, beside=beside)
    trained = [{session.session_id for session in one.train} for one in found]
    for smaller, larger in pairwise(trained):
        assert smaller < larger
    assert trained[-1] == {one.session_id for one in (*OWN, *(OTHERS if beside else ()))}
    assert not any("test" in session_id for ids in trained for session_id in ids)


def test_a_curve_survives_json_and_its_table_has_a_row_a_point() -> None:
    half = Figure(value=0.5, low=0.4, high=0.6, n=10)
    own = LevelFigures(tool=half.model_copy(update={"value": 0.55}), loose=half, strict=half)
    figures = {"tool": half, "strict": half}
    points = (
        CurvePoint(policy="ngram", own=25, others=0, figures=figures, own_steps=own, train_seconds=1.0),
        CurvePoint(policy="ngram", own=0, others=90, figures={"tool": half}),
    )
    curve = LearningCurve(process_id="inn", procedure="eat", sessions=2, steps=10, points=points)
    assert LearningCurve.model_validate_json(curve.model_dump_json()) == curve
    assert (
        "| ngram | 25 | 0 | 55.0 (40.0 – 60.0) | 50.0 (40.0 – 60.0) | 50.0 (40.0 – 60.0) | – | 1 |" in curve.markdown()
    )
    assert "| ngram | 0 | 90 | – | 50.0 (40.0 – 60.0) | – | – | – |" in curve.markdown()
