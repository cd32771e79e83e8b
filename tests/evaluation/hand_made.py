"""Sessions written by hand with proposals of known worth, so that every metric has an answer that can be counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from selective_autonomy.evaluation.replay import ReplayedStep
from selective_autonomy.policy.protocol import Alternative, Proposal
from selective_autonomy.process.actions import SendReply, SendTextToChat, SubmitForm, UIAction
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.process.schema import ActionTier, FieldSpec, Form, Procedure, ProcessSchema, Reply
from selective_autonomy.traces.schema import CustomerMessage, OperatorAction, Outcome, ScreenUpdate, Session
from selective_autonomy.traces.screen import steps

START = datetime(2024, 5, 6, 9, 0, tzinfo=UTC)

HELLO, TABLE = SendReply(template="hello"), SendReply(template="table")
TEXT, OTHER_TEXT = SendTextToChat(text="one moment"), SendTextToChat(text="just a second")


def book(**values: str | int) -> SubmitForm:
    return SubmitForm(form="book", values=dict(values))


def schema() -> ProcessSchema:
    fields = (FieldSpec(id="who"), FieldSpec(id="size", schema={"type": ["integer", "string"]}), FieldSpec(id="day"))
    return ProcessSchema(
        id="inn",
        version="1",
        procedures=(
            Procedure(id="eat", forms=("book",), replies=("hello", "table")),
            Procedure(id="sleep", forms=("room",), replies=("hello",)),
        ),
        forms=(Form(id="book", fields=fields), Form(id="room", fields=(FieldSpec(id="who"),))),
        replies=(Reply(id="hello", text="Hello"), Reply(id="table", text="Your table is booked")),
        actions={kind: ActionTier() for kind in ("submit_form", "send_reply", "send_text_to_chat")},
    )


def session(
    name: str,
    actions: Sequence[UIAction],
    *,
    procedures: tuple[str, ...] = ("eat",),
    operator: str = "ann",
    day: int = 0,
    labels: dict[str, str] | None = None,
) -> Session:
    """A finished log: the customer speaks first; after a form its result is shown, after anything else they speak."""
    at, events = START + timedelta(days=day), []
    events.append(CustomerMessage(at=at, text="hi"))
    for action in actions:
        at += timedelta(seconds=10)
        events.append(OperatorAction(at=at, action=action))
        if isinstance(action, SubmitForm):
            events.append(ScreenUpdate(at=at, form=action.form, values={"ok": True}))
        else:
            events.append(CustomerMessage(at=at, text="go on"))
    return Session(
        session_id=name,
        process_id="inn",
        process_version="1",
        procedures=procedures,
        operator_id=operator,
        source=name,
        labels=labels or {},
        events=tuple(events),
        outcome=Outcome(status="complete"),
    )


def proposal(action: UIAction, *then: str) -> Proposal:
    """The action with its head first among the alternatives, and other heads after it."""
    heads = [head_of(action), *then]
    return Proposal(
        action=action,
        log_prob=-0.1,
        entropy=0.2,
        legal_count=len(heads),
        alternatives=tuple(Alternative(head=head, p=1 / len(heads)) for head in heads),
    )


def replayed(log: Session, *proposals: Proposal | UIAction) -> list[ReplayedStep]:
    """The steps of a log with these proposals in their places."""
    given = [one if isinstance(one, Proposal) else proposal(one) for one in proposals]
    return [ReplayedStep(step, one) for step, one in zip(steps(log), given, strict=True)]
