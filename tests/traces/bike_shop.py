"""A made-up process of our own, and sessions under it: small enough to read at a glance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from selective_autonomy.process.actions import SendReply, SendTextToChat, SubmitForm
from selective_autonomy.process.schema import ActionTier, FieldSpec, Form, Procedure, ProcessSchema, Reply
from selective_autonomy.traces.schema import CustomerMessage, OperatorAction, Outcome, ScreenUpdate, Session

SCHEMA = ProcessSchema(
    id="bikes",
    version="1",
    procedures=(Procedure(id="rent", forms=("rent_bike",), replies=("ask_days",)),),
    forms=(
        Form(
            id="rent_bike",
            fields=(
                FieldSpec(id="days", schema_={"type": "integer", "minimum": 1}, required=True),
                FieldSpec(id="name"),
            ),
        ),
    ),
    replies=(Reply(id="ask_days", text="For how many days?"), Reply(id="bye", text="Goodbye.")),
    common_replies=("bye",),
    actions={"submit_form": ActionTier(), "send_reply": ActionTier(), "send_text_to_chat": ActionTier()},
)  # fmt: skip
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def session(
    number: int = 0,
    *,
    stratum: str = "all",
    status: str = "complete",
    minutes: float | None = None,
    worked: bool = True,
) -> Session:
    """A session that asks, rents and says goodbye; `minutes` after noon (default: its number)."""
    start = NOON + timedelta(minutes=number if minutes is None else minutes)

    def at(seconds: float) -> datetime:
        return start + timedelta(seconds=seconds)

    steps = (
        OperatorAction(at=at(4), action=SendReply(template="ask_days")),
        CustomerMessage(at=at(10), text="three, I am Mia"),
        OperatorAction(at=at(17.5), action=SubmitForm(form="rent_bike", values={"days": 3, "name": "Mia"})),
        ScreenUpdate(at=at(17.5), form="rent_bike", values={"bike": 7, "note": "lock code 12"}),
        OperatorAction(at=at(20), action=SendTextToChat(text="Bike 7 is yours.")),
    )
    return Session(
        session_id=f"bikes-{number:04d}",
        process_id="bikes",
        process_version="1",
        procedures=("rent",),
        operator_id=f"op-{number % 3}",
        source="test",
        labels={"stratum": stratum},
        events=(CustomerMessage(at=start, text=f"a bike please, number {number}"), *(steps if worked else ())),
        outcome=Outcome(status=status),  # type: ignore[arg-type]
    )
