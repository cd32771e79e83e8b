"""What is measured was never trained on: sessions, operators, processes."""

from __future__ import annotations

import pytest
from hand_made import HELLO, session
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.holdouts import HOLDOUTS, hold_out
from selective_autonomy.params import HoldoutParams, PublishedSplit
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.splits import SPLITS, Split

EAT, SLEEP, BOTH = ("eat",), ("sleep",), ("eat", "sleep")
SESSIONS = [
    session("a", [HELLO], operator="ann", procedures=EAT, labels={"bucket": "1"}),
    session("b", [HELLO], operator="bo", procedures=SLEEP, labels={"bucket": "2"}),
    session("c", [HELLO], operator="ann", procedures=BOTH, labels={"bucket": "1"}),
    session("d", [HELLO], operator="bo", procedures=EAT, labels={"bucket": "2"}),
    session("e", [HELLO], operator="cy", procedures=EAT, labels={"bucket": "1"}),
    session("not split", [HELLO], operator="bo", procedures=SLEEP, labels={"bucket": "2"}),
]
SIDES: dict[str, Split] = {"a": "train", "b": "train", "c": "fit", "d": "test", "e": "train"}


def ids(sessions: list[Session]) -> list[str]:
    return [one.session_id for one in sessions]


def test_without_a_holdout_the_split_is_measured_as_it_is() -> None:
    held = hold_out("none", SESSIONS, SIDES, None)
    assert (ids(held.train), ids(held.test)) == (["a", "b", "e"], ["d"])


@pytest.mark.parametrize("params", [HoldoutParams(operators=("bo",)), HoldoutParams(operator_labels={"bucket": "2"})])
def test_unseen_operators_are_measured_on_all_their_sessions_and_trained_on_none(params: HoldoutParams) -> None:
    held = hold_out("operators", SESSIONS, SIDES, params)
    assert (ids(held.train), ids(held.test)) == (["a", "e"], ["b", "d"])


def test_an_unseen_process_takes_every_session_that_has_it_open_also_beside_others() -> None:
    held = hold_out("processes", SESSIONS, SIDES, HoldoutParams(procedures=("sleep",)))
    assert (ids(held.train), ids(held.test)) == (["a", "e"], ["b", "c"])
    assert held.procedures == ("sleep",)


def test_a_published_split_is_taken_by_its_labels_whatever_ours_says() -> None:
    sides = PublishedSplit(train={"bucket": "1"}, test={"bucket": "2"})
    held = hold_out("published", SESSIONS, SIDES, HoldoutParams(published=sides))
    assert (ids(held.train), ids(held.test)) == (["a", "c", "e"], ["b", "d"])
    assert held.name == "published"


def test_a_published_split_with_an_empty_side_or_none_at_all_is_refused() -> None:
    sides = PublishedSplit(train={"bucket": "1"}, test={"bucket": "3"})
    with pytest.raises(SplitError, match="no measured sessions"):
        hold_out("published", SESSIONS, SIDES, HoldoutParams(published=sides))
    with pytest.raises(SplitError, match="no published split"):
        hold_out("published", SESSIONS, SIDES, HoldoutParams())


@pytest.mark.parametrize("test", [{"bucket": "1"}, {"other": "1"}])
def test_sides_of_a_published_split_that_one_session_could_be_on_are_refused(test: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="one session could bear together"):
        PublishedSplit(train={"bucket": "1"}, test=test)


def test_an_operator_on_both_sides_is_refused() -> None:
    torn = [*SESSIONS, session("f", [HELLO], operator="bo", labels={"bucket": "1"})]
    with pytest.raises(SplitError, match=r"1 operators would be trained and measured on, e.g. \['bo'\]"):
        hold_out("operators", torn, {**SIDES, "f": "train"}, HoldoutParams(operator_labels={"bucket": "2"}))


@pytest.mark.parametrize("name", ["operators", "processes"])
def test_a_holdout_that_params_do_not_describe_is_refused(name: str) -> None:
    for params in (None, HoldoutParams()):
        with pytest.raises(SplitError, match="nothing to hold out"):
            hold_out(name, SESSIONS, SIDES, params)  # type: ignore[arg-type]


def test_a_holdout_that_leaves_a_side_empty_is_refused() -> None:
    with pytest.raises(SplitError, match="leaves no measured sessions"):
        hold_out("operators", SESSIONS, SIDES, HoldoutParams(operators=("nobody",)))
    with pytest.raises(SplitError, match="leaves no train sessions"):
        hold_out("processes", SESSIONS, SIDES, HoldoutParams(procedures=("eat", "sleep")))
    with pytest.raises(SplitError, match="leaves no measured sessions"):
        hold_out("none", SESSIONS, {"a": "train"}, None)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([EAT, SLEEP, BOTH]), st.sampled_from(SPLITS))))
def test_nothing_that_is_measured_was_trained_on(drawn: list[tuple[str, tuple[str, ...], Split]]) -> None:
    sessions = [session(str(i), [HELLO], operator=who, procedures=what) for i, (who, what, _) in enumerate(drawn)]
    splits = {str(i): side for i, (_, _, side) in enumerate(drawn)}
    params = HoldoutParams(operators=("a",), procedures=("sleep",))
    for name in HOLDOUTS:
        try:
            held = hold_out(name, sessions, splits, params)
        except SplitError:
            continue
        assert not set(ids(held.train)) & set(ids(held.test))
        assert all(splits[one.session_id] == "train" for one in held.train)
        if name == "operators":
            assert {one.operator_id for one in held.test} == {"a"}
            assert "a" not in {one.operator_id for one in held.train}
        if name == "processes":
            assert all("sleep" in one.procedures for one in held.test)
            assert not any("sleep" in one.procedures for one in held.train)
