"""The adapter protocol: bound to a state, done once, legal, on the desk's own clock."""

from __future__ import annotations

import pytest

from selective_autonomy.desk.adapter import CaseView, Desk
from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.truth import moves
from selective_autonomy.errors import DeskError, IllegalAction, StaleScreen
from selective_autonomy.process.actions import CloseChat, SubmitForm, UIAction, Wait
from selective_autonomy.traces.schema import CustomerMessage, OperatorAction, Session
from selective_autonomy.traces.screen import state_digest


def _digest(view: CaseView) -> str:
    session = Session(
        session_id=view.case_id,
        process_id=view.process_id,
        process_version=view.process_version,
        procedures=view.procedures,
        operator_id="anyone",
        source="anywhere",
        events=view.events,
    )
    return state_digest(session)


def _perform(desk: Desk, action: UIAction, *, key: str, digest: str | None = None, seconds: float = 7.0) -> object:
    return desk.perform(
        "case-1",
        action,
        state_digest=digest or _digest(desk.read_case("case-1")),
        idempotency_key=key,
        by="autonomy",
        seconds=seconds,
    )


def test_the_same_seed_and_id_open_the_same_case_and_others_differ() -> None:
    one, again, other = EmbeddedDesk(1), EmbeddedDesk(1), EmbeddedDesk(2)
    assert one.open_case("case-1") == again.open_case("case-1")
    assert one.open_case("case-1").events != other.open_case("case-1").events
    assert one.open_case("case-1").events[1:] != one.open_case("case-2").events[1:]


def test_an_unknown_case_is_refused(desk: EmbeddedDesk) -> None:
    with pytest.raises(DeskError, match="no case 'ticket 5'"):
        desk.open_case("ticket 5")
    with pytest.raises(DeskError, match="not open"):
        desk.read_case("case-1")


def test_an_action_moves_the_clock_by_its_seconds_and_says_who_did_it(desk: EmbeddedDesk) -> None:
    before = desk.open_case("case-1").events[-1].at
    _perform(desk, Wait(), key="a")
    done, answer = desk.read_case("case-1").events[-2:]
    assert isinstance(done, OperatorAction)
    assert isinstance(answer, CustomerMessage)
    assert (done.at - before).total_seconds() == 7.0
    assert done.by == "autonomy"
    assert answer.at > done.at


def test_an_action_meant_for_an_older_state_is_refused(desk: EmbeddedDesk) -> None:
    digest = _digest(desk.open_case("case-1"))
    _perform(desk, Wait(), key="a", digest=digest)
    with pytest.raises(StaleScreen, match="moved on"):
        _perform(desk, Wait(), key="b", digest=digest)
    assert len(desk.read_case("case-1").events) == 4


def test_a_repeated_key_does_nothing_and_answers_the_first_receipt(desk: EmbeddedDesk) -> None:
    digest = _digest(desk.open_case("case-1"))
    first = desk.perform("case-1", Wait(), state_digest=digest, idempotency_key="a", by="operator", seconds=1.0)
    second = desk.perform("case-1", Wait(), state_digest=digest, idempotency_key="a", by="operator", seconds=1.0)
    assert second.repeated
    assert not first.repeated
    assert second.events == first.events
    assert desk.read_case("case-1").events[2:] == first.events


def test_an_illegal_action_leaves_the_case_as_it_was(desk: EmbeddedDesk) -> None:
    before = desk.open_case("case-1")
    with pytest.raises(IllegalAction, match="not open"):
        _perform(desk, SubmitForm(form="issue_refund", values={"refund_to": "bank card"}), key="a")
    assert desk.read_case("case-1") == before


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_impossible_seconds_are_refused(desk: EmbeddedDesk, seconds: float) -> None:
    desk.open_case("case-1")
    with pytest.raises(DeskError, match="seconds"):
        _perform(desk, Wait(), key="a", seconds=seconds)


def test_a_closed_case_takes_no_action(desk: EmbeddedDesk) -> None:
    desk.open_case("case-1")
    assert desk.outcome("case-1").status == "open"
    _perform(desk, CloseChat(), key="a")
    assert desk.read_case("case-1").closed
    with pytest.raises(DeskError, match="closed"):
        _perform(desk, Wait(), key="b")


def test_a_customer_who_is_led_nowhere_leaves_in_the_end(desk: EmbeddedDesk) -> None:
    desk.open_case("case-1")
    actions = 0
    while not desk.read_case("case-1").closed:
        _perform(desk, Wait(), key=str(actions))
        actions += 1
    assert actions == 60
    assert desk.outcome("case-1").status == "abandoned"
    assert desk.outcome("case-1").answers["solved"] is False


def test_a_wrong_form_brings_an_unhelpful_screen_and_the_form_again(desk: EmbeddedDesk) -> None:
    desk.open_case("case-1")
    case = desk.case("case-1")
    while not any(isinstance(move.action, SubmitForm) for move in moves(case)):
        case.apply(moves(case)[0].action, 5.0, "operator", right=True)
    wrong = SubmitForm(form="find_account", values={"account_number": "00000000", "postcode": "ZZ1 1ZZ"})
    _perform(desk, wrong, key="a")
    assert case.events[-1].values == {"account": "no such number"}  # type: ignore[union-attr]
    assert case.run is not None
    assert case.run.forms == ("find_account",)
    assert moves(case)[0].action.type == "submit_form"
