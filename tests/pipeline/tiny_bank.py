"""A tiny process worked by tiny rules with chance in them: enough for the whole pipeline to run in seconds."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from selective_autonomy.process.actions import CloseChat, SendReply, SendTextToChat, SubmitForm, UIAction
from selective_autonomy.process.schema import ActionTier, FieldSpec, Form, Procedure, ProcessSchema, Reply
from selective_autonomy.traces.schema import CustomerMessage, Event, OperatorAction, Outcome, ScreenUpdate, Session

START = datetime(2024, 5, 6, 9, 0, tzinfo=UTC)
NAMES = ("Ann", "Bo", "Cy", "Dee", "Eli", "Fay")


def tiny_schema() -> ProcessSchema:
    account = FieldSpec(id="account", required=True)
    return ProcessSchema(
        id="bank",
        version="1",
        procedures=(
            Procedure(id="balance", forms=("lookup",), replies=("greet", "tell", "sorry")),
            Procedure(id="card", forms=("block",), replies=("greet", "blocked")),
        ),
        forms=(
            Form(id="lookup", fields=(account,)),
            Form(id="block", fields=(account, FieldSpec(id="reason", schema={"enum": ["lost", "stolen"]}))),
        ),
        replies=(
            Reply(id="greet", text="Hello {name}", slots=(FieldSpec(id="name"),)),
            Reply(id="tell", text="Your balance is {balance}", slots=(FieldSpec(id="balance"),)),
            Reply(id="sorry", text="I cannot find that account"),
            Reply(id="blocked", text="Your card is blocked"),
        ),
        actions={kind: ActionTier() for kind in ("submit_form", "send_reply", "send_text_to_chat", "close_chat")},
    )


def tiny_sessions(number: int, seed: int = 0) -> list[Session]:
    """Sessions one minute apart. A third of the choices are a matter of taste, so no policy is always right."""
    rng = random.Random(seed)
    return [_session(rng, i) for i in range(number)]


def _session(rng: random.Random, number: int) -> Session:
    name, account = rng.choice(NAMES), f"{rng.randrange(10**5):05d}"
    procedure = "balance" if number % 2 else "card"
    wanted = "what is my balance?" if procedure == "balance" else f"my card was {rng.choice(['lost', 'stolen'])}"
    log = _Log(rng, START + timedelta(minutes=number))
    log.says(f"Hi, I am {name}, account {account}, {wanted}")
    if rng.random() < 0.7:
        log.does(SendReply(template="greet", slots={"name": name}))
    if procedure == "balance":
        log.does(SubmitForm(form="lookup", values={"account": account}))
        found = rng.random() < 0.8
        log.shows("lookup", f"{rng.randrange(500)} EUR" if found else "unknown")
        shown = log.events[-1].values["result"]
        log.does(SendReply(template="tell", slots={"balance": shown}) if found else SendReply(template="sorry"))
    else:
        log.does(SubmitForm(form="block", values={"account": account, "reason": wanted.split()[-1]}))
        log.shows("block", "done")
        log.does(SendReply(template="blocked"))
    if rng.random() < 0.3:
        log.does(SendTextToChat(text="Anything else?"))
        log.says("No, thanks")
    log.does(CloseChat(timer=rng.random() < 0.6))
    return Session(
        session_id=f"bank-{number:04d}",
        process_id="bank",
        process_version="1",
        procedures=(procedure,),
        operator_id=f"op-{number % 5}",
        source=f"case-{number:04d}",
        labels={"stratum": procedure},
        events=tuple(log.events),
        outcome=Outcome(status="complete"),
    )


class _Log:
    """A log being written; every event some seconds after the one before it."""

    def __init__(self, rng: random.Random, at: datetime) -> None:
        self.rng, self.at, self.events = rng, at, list[Event]()

    def _later(self) -> datetime:
        self.at += timedelta(seconds=self.rng.uniform(2, 20))
        return self.at

    def says(self, text: str) -> None:
        self.events.append(CustomerMessage(at=self._later(), text=text))

    def does(self, action: UIAction) -> None:
        self.events.append(OperatorAction(at=self._later(), action=action))

    def shows(self, form: str, result: str) -> None:
        self.events.append(ScreenUpdate(at=self._later(), form=form, values={"result": result}))
