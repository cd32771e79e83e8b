"""Every figure of a policy, counted by hand."""

from __future__ import annotations

import pytest
from desk_world import world
from hand_made import HELLO, OTHER_TEXT, TABLE, TEXT, book, proposal, replayed, schema, session
from hypothesis import given, settings
from hypothesis import strategies as st

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.accuracy import by_field, by_group, difference, evaluate_policy
from selective_autonomy.evaluation.outcomes import LEVELS, SEVERAL, action_type, operator, procedure_of, trigger
from selective_autonomy.process.actions import SubmitForm


def values(*logs: list) -> dict[str, float]:
    return {name: figure.value for name, figure in evaluate_policy([r for log in logs for r in log], seed=0).items()}


def test_free_text_is_right_as_a_tool_and_loosely_and_never_strictly() -> None:
    got = values(replayed(session("a", [HELLO, TEXT]), HELLO, OTHER_TEXT))
    assert (got["tool"], got["loose"], got["strict"]) == (1, 1, 0.5)
    assert (got["tool_send_reply"], got["tool_send_text_to_chat"]) == (1, 1)


def test_a_form_with_another_value_is_the_right_tool_and_the_wrong_action() -> None:
    got = values(replayed(session("a", [book(who="Ann"), TABLE]), book(who="Bo"), TABLE))
    assert (got["tool"], got["loose"], got["strict"], got["form_exact"]) == (1, 0.5, 0.5, 0)


def test_values_that_mean_the_same_fill_a_form_exactly() -> None:
    got = values(replayed(session("a", [book(who="Ann", size=4)]), book(who="ANN", size="4")))
    assert (got["form_exact"], got["field"]) == (1, 1)


def test_fields_count_where_the_right_form_was_proposed_and_either_side_filled_them() -> None:
    log = session("a", [book(who="Ann", size=4, day="mon"), book(who="Ann")])
    # who right, size wrong, day left out; then another form altogether, which says nothing about fields
    steps = replayed(log, book(who="Ann", size=5), SubmitForm(form="room", values={"who": "Ann"}))
    assert values(steps)["field"] == pytest.approx(1 / 3)
    fields = by_field(steps, seed=0)
    assert {name: figure.value for name, figure in fields.items()} == {"book.who": 1, "book.size": 0, "book.day": 0}
    assert all(figure.n == 1 for figure in fields.values())


def test_a_field_that_the_operator_left_empty_is_wrong_when_it_is_filled() -> None:
    got = values(replayed(session("a", [book(who="Ann")]), book(who="Ann", size=2)))
    assert (got["form_exact"], got["field"]) == (0, 0.5)


def test_without_a_right_form_there_is_no_figure_of_forms() -> None:
    got = values(replayed(session("a", [book(who="Ann"), TABLE]), TABLE, TABLE))
    assert not {"form_exact", "field"} & got.keys()
    assert by_field(replayed(session("a", [TABLE]), TABLE), seed=0) == {}


def test_a_wrong_proposal_that_is_the_next_action_is_right_but_for_the_order() -> None:
    log = session("a", [HELLO, book(who="Ann"), TABLE, HELLO])
    # early and right in every value; right; early as a tool only (free text is nobody's exact words); wrong
    got = values(replayed(log, book(who="Ann"), book(who="Ann"), HELLO, TABLE))
    assert got["tool"] == 0.25
    assert got["order_tolerant_tool"] == 0.75
    assert got["order_tolerant_strict"] == 0.75
    other = values(replayed(log, book(who="Bo"), book(who="Ann"), HELLO, TABLE))
    assert (other["order_tolerant_tool"], other["order_tolerant_strict"]) == (0.75, 0.5)


def test_the_next_action_is_never_that_of_another_session() -> None:
    first, second = session("a", [HELLO]), session("b", [TABLE])
    assert values(replayed(first, TABLE), replayed(second, TABLE))["order_tolerant_tool"] == 0.5


def test_top_three_looks_at_three_alternatives_and_not_at_a_fourth() -> None:
    log = session("a", [TABLE, TABLE])
    third = proposal(HELLO, "submit_form:book", "send_reply:table")
    fourth = proposal(HELLO, "submit_form:book", "submit_form:room", "send_reply:table")
    got = values(replayed(log, third, fourth))
    assert (got["tool"], got["top3"]) == (0, 0.5)


def test_sessions_count_whole_or_with_at_most_one_step_wrong() -> None:
    right = replayed(session("a", [HELLO, TABLE]), HELLO, TABLE)
    one_wrong = replayed(session("b", [HELLO, TABLE, HELLO]), HELLO, HELLO, HELLO)
    two_wrong = replayed(session("c", [HELLO, TABLE, HELLO]), TABLE, HELLO, HELLO)
    worded = replayed(session("d", [HELLO, TEXT, TEXT]), HELLO, TEXT, TEXT)
    got = evaluate_policy([*right, *one_wrong, *two_wrong, *worded], seed=0)
    assert (got["session_tool"].value, got["session_tool_one_wrong"].value) == (0.5, 0.75)
    assert (got["session_strict"].value, got["session_strict_one_wrong"].value) == (0.25, 0.5)
    assert got["session_tool"].n == 4


def test_steps_are_told_apart_by_what_the_operator_answered_to() -> None:
    log = session("a", [HELLO, book(who="Ann"), TABLE])
    steps = replayed(log, HELLO, TABLE, TABLE)
    assert [trigger(one) for one in steps] == ["customer", "customer", "screen"]
    groups = by_group(steps, trigger, seed=0)
    assert list(groups) == ["customer", "screen"]
    assert (groups["customer"].tool.value, groups["screen"].tool.value) == (0.5, 1)
    assert groups["customer"].tool.n == 2


def test_operators_and_action_types_are_groups_too() -> None:
    steps = [
        *replayed(session("a", [HELLO, book(who="Ann")], operator="ann"), HELLO, book(who="Bo")),
        *replayed(session("b", [HELLO], operator="bo"), TABLE),
    ]
    by_operator = by_group(steps, operator, seed=0)
    assert {name: (g.tool.value, g.strict.value) for name, g in by_operator.items()} == {"ann": (1, 0.5), "bo": (0, 0)}
    assert {name: g.loose.value for name, g in by_group(steps, action_type, seed=0).items()} == {
        "send_reply": 0.5,
        "submit_form": 0,
    }


def test_a_step_of_several_procedures_belongs_to_the_one_that_has_its_form_or_reply() -> None:
    log = session("a", [HELLO, TABLE, TEXT, SubmitForm(form="room")], procedures=("eat", "sleep"))
    steps = replayed(log, HELLO, TABLE, TEXT, TEXT)
    assert [procedure_of(one, schema()) for one in steps] == [SEVERAL, "eat", SEVERAL, "sleep"]
    alone = replayed(session("b", [TEXT], procedures=("sleep",)), TEXT)
    assert procedure_of(alone[0], schema()) == "sleep"


def test_two_policies_are_compared_step_by_step_on_the_same_sessions() -> None:
    logs = [session(f"s{i}", [HELLO, TABLE]) for i in range(10)]
    ours = [r for log in logs for r in replayed(log, HELLO, TABLE)]
    theirs = [r for log in logs for r in replayed(log, HELLO, HELLO)]
    ahead = difference(ours, theirs, "tool", seed=0)
    assert (ahead.value, ahead.n) == (0.5, 20)
    assert difference(theirs, ours, "tool", seed=0).value == -0.5
    same = difference(ours, ours, "tool", seed=0)
    assert same.value == 0
    assert same.low == -same.high < 0


def test_policies_are_not_compared_on_different_steps() -> None:
    one, other = replayed(session("a", [HELLO]), HELLO), replayed(session("b", [HELLO]), HELLO)
    with pytest.raises(SplitError, match="different steps"):
        difference(one, other, "tool", seed=0)


def test_an_empty_split_is_refused_by_every_measure() -> None:
    for measure in (lambda: evaluate_policy([], seed=0), lambda: by_group([], operator, seed=0)):
        with pytest.raises(SplitError, match="non-empty split"):
            measure()
    with pytest.raises(SplitError, match="non-empty split"):
        difference([], [], "tool", seed=0)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 400), st.integers(1, 60))
def test_levels_are_nested_and_groups_add_up_on_any_stretch_of_steps(start: int, length: int) -> None:
    steps = world().calibrate.replayed[start : start + length]
    figures = evaluate_policy(steps, seed=1)
    assert figures["tool"].value >= figures["loose"].value >= figures["strict"].value
    assert figures["top3"].value >= figures["tool"].value
    assert figures["order_tolerant_tool"].value >= figures["tool"].value
    assert figures["order_tolerant_strict"].value >= figures["strict"].value
    assert figures["session_tool_one_wrong"].value >= figures["session_tool"].value
    for level in LEVELS:
        groups = by_group(steps, trigger, seed=1)
        right = sum(getattr(g, level).value * getattr(g, level).n for g in groups.values())
        assert right == pytest.approx(figures[level].value * len(steps))
