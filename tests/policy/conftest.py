"""The policy tests work on the parcel desk of the contract tests, with models small enough to train in a second."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost 5-20 x when another test runs beside
sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from parcel_process import HOSTILE, do, say, session, show

from selective_autonomy.params import CausalLMParams
from selective_autonomy.process.actions import SendReply, SendTextToChat, SubmitForm, Wait
from selective_autonomy.traces.schema import Session


@pytest.fixture(scope="session")
def tiny() -> CausalLMParams:
    return CausalLMParams(
        hidden=32,
        layers=2,
        heads=2,
        vocabulary=320,
        context=1024,
        epochs=2,
        batch_tokens=400,
        learning_rate=3e-3,
        warmup=0.1,
        weight_decay=0.01,
        lora_rank=0,
        seed=3,
    )


def case(number: int) -> Session:
    """A worked case whose right actions follow from what the customer said."""
    lost = number % 2 == 0
    parcel, reason = f"P{100 + number % 7 * 111}", "lost" if lost else "late"
    return session(
        say(f"Hi, my parcel {parcel} is {reason}!"),
        do(SendReply(template="hello")),
        say(HOSTILE if number % 5 == 0 else "thanks"),
        do(SubmitForm(form="lookup", values={"number": parcel})),
        show("lookup", place="Oslo", late=not lost),
        do(SubmitForm(form="refund", values={"reason": reason, "who|=<x>": "Ann", "items": 2})),
        do(SendTextToChat(text="Done, sorry!") if lost else Wait()),
        session_id=f"case-{number}",
    )


@pytest.fixture(scope="session")
def cases() -> list[Session]:
    return [case(number) for number in range(24)]
