"""A session as segments, one for each event that the operator could see, in order.

What is rendered: the process, the open procedures, customer messages, screen updates, operator actions.
What never is: proposals, feedback and system notes (they would leak what the policy is asked for), labels,
outcome, operator, times. A segment depends on its own event only; that is what makes prompts prefix-stable.
"""

from __future__ import annotations

from dataclasses import dataclass

from selective_autonomy.contract.actions import OTHER, action_pieces
from selective_autonomy.contract.pieces import Marker, Piece, Text
from selective_autonomy.contract.values import write_value
from selective_autonomy.contract.windows import Kind
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import CustomerMessage, OperatorAction, ScreenUpdate, Session

RENDERER_VERSION = 1
CASE, CUSTOMER, SCREEN, OPERATOR = Marker("case"), Marker("customer"), Marker("screen"), Marker("operator")
_BETWEEN_PARTS = " | "


@dataclass(frozen=True, slots=True)
class Segment:
    """The pieces of one event. `position`: the event's place in the session, -1 for the header.

    `shows`: what a screen update sets, until a later one sets it again.
    """

    kind: Kind
    position: int
    pieces: tuple[Piece, ...]
    shows: frozenset[str] = frozenset()

    @property
    def teaches(self) -> bool:
        """An operator action that the process knows: what a policy learns from."""
        return self.kind == "action" and OTHER not in self.pieces


def render_session(schema: ProcessSchema, heads: frozenset[str], session: Session) -> tuple[Segment, ...]:
    """The header and one segment per visible event. A session without events is its header alone."""
    segments = [Segment("header", -1, _header(session))]
    for position, event in enumerate(session.events):
        match event:
            case CustomerMessage(text=text):
                segments.append(Segment("customer", position, (CUSTOMER, Text(text))))
            case ScreenUpdate():
                update = (SCREEN, Text(_screen(schema, event)))
                segments.append(Segment("screen", position, update, _shows(event)))
            case OperatorAction(action=action):
                pieces = (OPERATOR, *action_pieces(schema, heads, action))
                segments.append(Segment("action", position, pieces))
    return tuple(segments)


def _header(session: Session) -> tuple[Piece, ...]:
    return (CASE, Text(_BETWEEN_PARTS.join((session.process_id, *session.procedures))))


def _shows(event: ScreenUpdate) -> frozenset[str]:
    """As `derive_screen` folds updates: each form's values, the screen, and what is enabled on it."""
    named = {"screen": event.screen, "forms": event.forms, "controls": event.controls}
    shows = {name for name, value in named.items() if value is not None}
    if event.form is not None or event.values:
        shows.add(f"form:{event.form or ''}")
    return frozenset(shows)


def _screen(schema: ProcessSchema, event: ScreenUpdate) -> str:
    parts = [event.form] if event.form is not None else []
    form = schema.forms_by_id.get(event.form or "")
    for name, value in event.values.items():
        parts.append(f"{name}: {write_value(value, form.field(name) if form else None)}")
    if event.screen is not None:
        parts.append(f"on {event.screen}")
    if event.forms is not None:
        parts.append(f"forms {', '.join(event.forms)}")
    if event.controls is not None:
        parts.append(f"controls {', '.join(event.controls)}")
    return _BETWEEN_PARTS.join(parts)
