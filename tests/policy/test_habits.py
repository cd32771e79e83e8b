"""Copy habits: found on train sessions, followed while decoding, never in the way of a legal action."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from selective_autonomy.policy.values.habits import copy_habits, recall
from selective_autonomy.process.actions import SendReply, SubmitForm
from selective_autonomy.process.schema import FieldSpec, ProcessSchema
from selective_autonomy.traces.schema import CustomerMessage, Event, OperatorAction, ScreenUpdate, Session

START = datetime(2026, 1, 1, tzinfo=UTC)
DIGITS = {"id": "account", "schema": {"type": "string", "pattern": "^[0-9]{8}$"}, "required": True}
WINDOW = {"id": "window", "schema": {"type": "string", "enum": ["morning", "late morning", "afternoon"]}}
NOTE = {"id": "note", "schema": {"type": "string"}}
SCHEMA = ProcessSchema.model_validate(
    {
        "id": "visits",
        "version": "1",
        "procedures": [{"id": "visit", "forms": ["book"], "replies": ["tell"]}],
        "forms": [{"id": "book", "fields": [DIGITS, WINDOW, NOTE]}],
        "replies": [{"id": "tell", "text": "Booked, {reference}.", "slots": [{"id": "reference"}]}],
        "actions": {"submit_form": {}, "send_reply": {}},
    }
)


def spec(field: dict[str, object]) -> FieldSpec:
    return FieldSpec.model_validate(field)


def said(text: str, at: int = 0) -> CustomerMessage:
    return CustomerMessage(at=START + timedelta(seconds=at), text=text)


def session(number: int, *events: Event) -> Session:
    return Session(
        session_id=f"s{number}", process_id="visits", process_version="1", procedures=("visit",), operator_id="o",
        source="test", events=events,
    )  # fmt: skip


def test_the_newest_message_that_states_a_value_is_what_was_said() -> None:
    events = [said("it is 11112222"), said("sorry, 3333 4444"), said("hello?")]
    assert recall(("said",), spec(DIGITS), events) == "33334444"
    assert recall(("said",), spec(DIGITS), [said("no number here")]) is None


def test_of_several_listed_values_the_last_mention_counts_and_words_must_stand_alone() -> None:
    assert recall(("said",), spec(WINDOW), [said("the afternoon, no, the Morning please")]) == "morning"
    assert recall(("said",), spec(WINDOW), [said("good afternoons are rare")]) is None


def test_what_is_shown_under_the_name_is_found_on_the_screen_and_in_earlier_forms() -> None:
    screen = ScreenUpdate(at=START, form="book", values={"reference": "V77", "account": "not valid"})
    form = OperatorAction(at=START, action=SubmitForm(form="book", values={"account": "12345678"}))
    assert recall(("shown",), spec({"id": "reference"}), [screen]) == "V77"
    assert recall(("shown",), spec(DIGITS), [form, screen]) == "12345678"


def test_a_habit_needs_enough_steps_that_nearly_all_agree() -> None:
    sessions = []
    for i in range(30):
        given = {"account": f"{i:08d}", "window": "morning" if i % 2 else "afternoon", "note": "as said"}
        sessions.append(
            session(
                i,
                said(f"account {i:08d}, the morning"),
                OperatorAction(at=START, action=SubmitForm(form="book", values=given)),
                ScreenUpdate(at=START, values={"reference": f"V{i}"}),
                OperatorAction(at=START, action=SendReply(template="tell", slots={"reference": f"V{i}"})),
            )
        )
    assert copy_habits(sessions, SCHEMA) == {
        "send_reply:tell reference": ("shown",),
        "submit_form:book account": ("said",),
    }
    assert copy_habits(sessions[:19], SCHEMA) == {}
