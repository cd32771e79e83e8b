"""The desk knows what is right: from the ready tasks, what the customer said and what the chat waits for."""

from __future__ import annotations

import random

import pytest

from selective_autonomy.desk.case import Case
from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.truth import judge, moves
from selective_autonomy.process.actions import (
    CloseChat,
    SearchProcedure,
    SendReply,
    SendTextToChat,
    SubmitForm,
    TransferChat,
    Wait,
    head,
)
from selective_autonomy.traces.screen import state_digest


def _reach(desk: EmbeddedDesk, name: str, *, tries: int = 400) -> Case:
    """The first case in which the head `name` becomes right when always the first right action is done."""
    for number in range(tries):
        case = desk.new_case(f"case-{number}")
        while not case.closed:
            known = moves(case)
            if any(head(move.action) == name for move in known):
                return case
            case.apply(known[0].action, 5.0, "operator", right=True)
    raise AssertionError(f"no case of {tries} comes to {name}")


@pytest.mark.parametrize("choice", ["the first right action", "any right or equivalent action"])
def test_a_policy_that_knows_the_truth_solves_every_case(desk: EmbeddedDesk, choice: str) -> None:
    for number in range(120):
        case, rng = desk.new_case(f"case-{number}"), random.Random(number)
        while not case.closed:
            known = moves(case)
            assert known, f"nothing is right in {case.case_id}: {case.events[-2:]}"
            move = known[0] if choice == "the first right action" else rng.choice(known)
            case.apply(move.action, 5.0, "operator", right=True)
        assert case.outcome.answers == {"solved": True, "satisfied": True}, case.case_id


def test_judging_changes_nothing(desk: EmbeddedDesk) -> None:
    case = desk.new_case("case-7")
    before = state_digest(case.session)
    verdicts = [judge(case, SearchProcedure(query="refund")) for _ in range(3)]
    assert verdicts == verdicts[:1] * 3
    assert state_digest(case.session) == before


def test_a_right_form_with_a_wrong_value_is_wrong(desk: EmbeddedDesk) -> None:
    case = _reach(desk, "submit_form:find_account")
    right = next(move.action for move in moves(case) if isinstance(move.action, SubmitForm))
    assert isinstance(right, SubmitForm)
    number = str(right.values["account_number"])
    slipped = number[:-1] + ("1" if number[-1] != "1" else "2")
    assert judge(case, right).standing == "right"
    verdict = judge(case, SubmitForm(form=right.form, values={**right.values, "account_number": slipped}))
    assert (verdict.standing, verdict.cost_seconds) == ("wrong", 60.0)


def test_free_text_counts_by_what_it_says(desk: EmbeddedDesk) -> None:
    case = _reach(desk, "send_reply:ask_account")
    texts = [move.action.text for move in moves(case) if isinstance(move.action, SendTextToChat)]
    assert judge(case, SendTextToChat(text=texts[0].upper() + "!")).standing == "equivalent"
    assert judge(case, SendTextToChat(text="what a lovely day")).standing == "wrong"


def test_a_slot_with_another_value_than_the_screen_is_wrong(desk: EmbeddedDesk) -> None:
    case = _reach(desk, "send_reply:tell_outage")
    told = SendReply(template="tell_outage", slots={"restored_by": case.context["restored_by"]})
    assert judge(case, told).standing == "right"
    assert judge(case, told.model_copy(update={"slots": {"restored_by": "never"}})).standing == "wrong"


def test_asking_for_what_was_said_already_is_wrong(desk: EmbeddedDesk) -> None:
    case = _reach(desk, "submit_form:find_account")
    assert judge(case, SendReply(template="ask_account")).standing == "wrong"


def test_waiting_is_right_only_while_the_customer_looks_something_up(desk: EmbeddedDesk) -> None:
    assert judge(_reach(desk, "wait"), Wait()).standing == "right"
    assert judge(desk.new_case("case-1"), Wait()).standing == "wrong"


def test_one_detail_at_a_time_is_as_good_as_both_at_once(desk: EmbeddedDesk) -> None:
    case = _reach(desk, "send_reply:ask_visit")
    standings = {head(move.action): move.standing for move in moves(case)}
    assert standings["send_reply:ask_visit"] == "right"
    assert standings["send_reply:ask_visit_day"] == standings["send_reply:ask_visit_warm"] == "equivalent"


def test_closing_early_and_the_wrong_queue_cost_most_and_leave_the_case_unsolved(desk: EmbeddedDesk) -> None:
    early, misled = desk.new_case("case-3"), _reach(desk, "transfer_chat:fraud_team")
    for case, action in ((early, CloseChat()), (misled, TransferChat(queue="retention"))):
        verdict = judge(case, action)
        assert verdict.standing == "wrong"
        assert verdict.cost_seconds >= 240
        case.apply(action, 5.0, "operator", right=False)
        assert case.outcome.status == "complete"
        assert case.outcome.answers["solved"] is False


def test_nothing_is_right_once_the_case_is_closed(desk: EmbeddedDesk) -> None:
    case = desk.new_case("case-3")
    case.apply(CloseChat(), 5.0, "operator", right=False)
    assert moves(case) == ()
    assert judge(case, Wait()).standing == "wrong"
