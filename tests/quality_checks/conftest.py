"""A small process with every trap in it, and sessions worked under it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from small_bank import START, act, ordinary_events

from selective_autonomy.params import ValidationParams
from selective_autonomy.process.actions import SendTextToChat, SubmitForm
from selective_autonomy.process.schema import ActionTier, FieldSpec, Form, Procedure, ProcessSchema, Reply
from selective_autonomy.traces.schema import Event, Outcome, Session


@pytest.fixture
def schema() -> ProcessSchema:
    account = FieldSpec(id="account", pii=True, required=True)
    amount = FieldSpec(id="amount", schema={"type": "number", "minimum": 0})
    return ProcessSchema(
        id="bank",
        version="1",
        procedures=(
            Procedure(id="balance", forms=("lookup",), replies=("greet", "tell")),
            Procedure(id="card", forms=("block",), replies=("greet",)),
        ),
        forms=(Form(id="lookup", fields=(account, amount)), Form(id="block", fields=(account,))),
        replies=(
            Reply(id="greet", text="Hello {name}", slots=(FieldSpec(id="name"),)),
            Reply(id="tell", text="{account}: {balance}", slots=(account, FieldSpec(id="balance"))),
        ),
        actions={kind: ActionTier() for kind in ("submit_form", "send_reply", "send_text_to_chat", "close_chat")},
    )


@pytest.fixture
def params() -> ValidationParams:
    return ValidationParams(
        max_bad_share=0.05,
        max_gap_hours=24,
        min_operators=3,
        max_operator_share=0.5,
        min_sessions_per_procedure=5,
        min_accept_share=0.2,
        max_accept_share=0.98,
    )


@pytest.fixture
def session() -> Callable[..., Session]:
    """A good session, worked at a time of its own; any field can be given."""
    made = iter(range(10**6))

    def build(**fields: object) -> Session:
        number = next(made)
        given = {
            "session_id": f"s{number}",
            "process_id": "bank",
            "process_version": "1",
            "procedures": ("balance",) if number % 2 else ("balance", "card"),
            "operator_id": f"op-{number % 5}",
            "source": "test",
            "events": ordinary_events(START + timedelta(minutes=number)),
            "outcome": Outcome(status="complete"),
        }
        return Session(**{**given, **fields})

    return build


@pytest.fixture
def text_events() -> Callable[[str], tuple[Event, ...]]:
    def build(text: str) -> tuple[Event, ...]:
        return act(SubmitForm(form="lookup", values={"account": "8431893143"}), SendTextToChat(text=text))

    return build
