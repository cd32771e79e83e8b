"""The screen state before a step, derived from the log: never stored, so it cannot disagree with it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import Field

from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import CloseChat, Scalar, TransferChat, UIAction
from selective_autonomy.process.schema import canonical_json
from selective_autonomy.traces.schema import Event, OperatorAction, ScreenUpdate, Session


class ScreenState(Frozen):
    """What is on the operator's screen. `forms` / `controls` None: all that the open procedures have.

    `shown` maps a form id ("" for changes that no form caused) to the values last shown for it.
    """

    procedures: tuple[str, ...]
    screen: str | None = None
    forms: tuple[str, ...] | None = None
    controls: tuple[str, ...] | None = None
    shown: dict[str, dict[str, Scalar]] = Field(default_factory=dict)
    closed: bool = False


def derive_screen(session: Session) -> ScreenState:
    """Fold a session's events into the screen state after the last of them. O(events)."""
    screen, forms, controls, closed = None, None, None, False
    shown: dict[str, dict[str, Scalar]] = {}
    for event in session.events:
        if isinstance(event, ScreenUpdate):
            screen = event.screen if event.screen is not None else screen
            forms = event.forms if event.forms is not None else forms
            controls = event.controls if event.controls is not None else controls
            if event.form is not None or event.values:
                shown[event.form or ""] = event.values
        elif isinstance(event, OperatorAction) and isinstance(event.action, CloseChat | TransferChat):
            closed = True
    return ScreenState(
        procedures=session.procedures, screen=screen, forms=forms, controls=controls, shown=shown, closed=closed
    )


@dataclass(frozen=True)
class Step:
    """The `index`-th operator action of a session (0-based), at event `position`, done after `seconds`.

    `seconds` is the time since the event before it (active time), None when it is the first event.
    """

    session: Session
    index: int
    position: int
    action: UIAction
    seconds: float | None

    @property
    def before(self) -> Session:
        """The log as it stood when the operator had to act."""
        return self.session.before(self.position)


# Session id -> event positions of its chosen steps. All steps of a session that is not in it are chosen.
Choice = Mapping[str, Collection[int]]


def is_chosen(choice: Choice | None, session_id: str, position: int) -> bool:
    """Whether the step at an event position is chosen; None chooses every step."""
    return choice is None or session_id not in choice or position in choice[session_id]


def steps(session: Session, choice: Choice | None = None) -> Iterator[Step]:
    """The chosen operator actions of a session in order, all by default. Sessions without one yield nothing."""
    index = 0
    for position, event in enumerate(session.events):
        if isinstance(event, OperatorAction):
            seconds = (event.at - session.events[position - 1].at).total_seconds() if position else None
            if is_chosen(choice, session.session_id, position):
                yield Step(session, index, position, event.action, seconds)
            index += 1


def state_digest(session: Session) -> str:
    """sha256 of identity, open procedures and events: what an approval or a claim is bound to."""
    return _digest([session.session_id, session.process_id, list(session.procedures), *_dump(session.events)])


def _dump(events: Iterable[Event]) -> list[object]:
    return [event.model_dump(mode="json") for event in events]


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
