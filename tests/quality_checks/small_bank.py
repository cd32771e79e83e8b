"""Sessions of a small bank process: what the checks are tried on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from selective_autonomy.process.actions import CloseChat, SendReply, SubmitForm, UIAction
from selective_autonomy.traces.schema import CustomerMessage, Event, OperatorAction, ScreenUpdate

START = datetime(2024, 5, 6, 9, 0, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)


def act(*actions: UIAction, start: datetime = START, every: float = 20.0) -> tuple[Event, ...]:
    """A customer message, then the actions, `every` seconds apart."""
    times = [start + timedelta(seconds=every * i) for i in range(len(actions) + 1)]
    done = [OperatorAction(at=at, action=action) for at, action in zip(times[1:], actions, strict=True)]
    return (CustomerMessage(at=times[0], text="My card 4111 1111 1111 1111 is gone"), *done)


def ordinary_events(start: datetime = START) -> tuple[Event, ...]:
    greet, lookup, tell, close = act(
        SendReply(template="greet", slots={"name": "Ann"}),
        SubmitForm(form="lookup", values={"account": "8431893143"}),
        SendReply(template="tell", slots={"account": "8431893143", "balance": "12 EUR"}),
        CloseChat(),
        start=start,
    )[1:]
    shown = ScreenUpdate(at=lookup.at, form="lookup", values={"balance": "12 EUR"})
    return (CustomerMessage(at=start, text="Hi, ann@example.org here"), greet, lookup, shown, tell, close)
