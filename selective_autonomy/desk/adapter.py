"""What a BPM platform must offer to be worked on: the same for the embedded desk and for a real one."""

from __future__ import annotations

from typing import Protocol

from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import UIAction
from selective_autonomy.traces.schema import Event


class Receipt(Frozen):
    """What the desk answered to an action: the events it caused (screen updates, customer messages).

    `repeated` is True when the idempotency key was seen before: nothing was done again.
    """

    events: tuple[Event, ...]
    closed: bool
    repeated: bool = False


class CaseView(Frozen):
    """An open case as the desk shows it now: who works on which procedures, and its log so far."""

    case_id: str
    process_id: str
    process_version: str
    procedures: tuple[str, ...]
    events: tuple[Event, ...]
    closed: bool


class Desk(Protocol):
    """A BPM desk. Every method may raise DeskUnreachable; then whether an action was done is unknown."""

    def open_case(self, case_id: str) -> CaseView:
        """Open (or look again at) a case.

        Raises:
            DeskError: no such case.
        """
        ...

    def read_case(self, case_id: str) -> CaseView:
        """The case as it stands: read screen and chat."""
        ...

    def perform(
        self, case_id: str, action: UIAction, *, state_digest: str, idempotency_key: str, by: str, seconds: float
    ) -> Receipt:
        """Do one action on the state it was meant for.

        Args:
            state_digest: `state_digest` of the log that the action was chosen on.
            idempotency_key: a second call with the same key does nothing and answers the first receipt.
            by: "operator" or "autonomy".
            seconds: how long the actor took; moves the desk's clock.

        Raises:
            StaleScreen: the case has moved on since.
            IllegalAction: the screen does not allow it.
            DeskError: the case is unknown or closed.
        """
        ...
