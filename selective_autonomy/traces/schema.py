"""A session is an append-only log of events. Everything else is derived from it.

Version 1. Times are UTC. Operator ids are pseudonyms given by the importer. The screen state before a
step is never stored: `selective_autonomy.traces.screen` derives it from the events before the step.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter

from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import Scalar, UIAction

SCHEMA_VERSION = 1


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


UtcTime = Annotated[AwareDatetime, AfterValidator(_utc)]


class CustomerMessage(Frozen):
    kind: Literal["customer_message"] = "customer_message"
    at: UtcTime
    text: str


class ScreenUpdate(Frozen):
    """What the screen shows from now on.

    `form` is the form whose result this is (None: a change that no form caused). `values` replaces what
    was shown for that form. `screen`, `forms`, `controls` replace the current screen and what is enabled on
    it; None leaves them as they were (initially: whatever the open procedures have).
    """

    kind: Literal["screen_update"] = "screen_update"
    at: UtcTime
    form: str | None = None
    values: dict[str, Scalar] = Field(default_factory=dict)
    screen: str | None = None
    forms: tuple[str, ...] | None = None
    controls: tuple[str, ...] | None = None


class OperatorAction(Frozen):
    """A step: one UI action done on the desk, by the operator or by the gated system."""

    kind: Literal["operator_action"] = "operator_action"
    at: UtcTime
    action: UIAction
    by: Literal["operator", "autonomy"] = "operator"


class ProposalShown(Frozen):
    """The policy's proposal for the next step, as the operator saw it."""

    kind: Literal["proposal"] = "proposal"
    at: UtcTime
    proposal_id: str
    action: UIAction
    p_accept: float | None = Field(default=None, ge=0, le=1)
    bundle_digest: str | None = None


Verdict = Literal["accept", "correct"]
CorrectReason = Literal["wrong", "acceptable", "environment", "other"]


class CopilotFeedback(Frozen):
    """The operator's answer to a proposal; `seconds` is the time from shown to answered.

    The action done instead of a corrected proposal is the `operator_action` that follows.
    """

    kind: Literal["feedback"] = "feedback"
    at: UtcTime
    proposal_id: str
    verdict: Verdict
    reason: CorrectReason | None = None
    seconds: float | None = Field(default=None, ge=0)


class SystemNote(Frozen):
    kind: Literal["system_note"] = "system_note"
    at: UtcTime
    text: str


Event = Annotated[
    CustomerMessage | ScreenUpdate | OperatorAction | ProposalShown | CopilotFeedback | SystemNote,
    Field(discriminator="kind"),
]
event_adapter: TypeAdapter[Event] = TypeAdapter(Event)


class Outcome(Frozen):
    """How the session ended. `answers`: yes/no quality questions, where the desk asks them."""

    status: Literal["complete", "abandoned", "open"] = "open"
    answers: dict[str, bool] = Field(default_factory=dict)


class Session(Frozen):
    """One case worked end to end.

    Args:
        procedures: the procedures open to the operator in this session, at least one.
        labels: facts about the session that are not part of its state (stratum, simulation seed, ...);
            never rendered into a prompt.
    """

    schema_version: Literal[1] = 1
    session_id: str
    process_id: str
    process_version: str
    procedures: tuple[str, ...] = Field(min_length=1)
    operator_id: str
    source: str
    labels: dict[str, str] = Field(default_factory=dict)
    events: tuple[Event, ...] = ()
    outcome: Outcome = Outcome()

    @property
    def started_at(self) -> datetime | None:
        """Time of the first event; None for an empty log."""
        return self.events[0].at if self.events else None

    def before(self, position: int) -> Session:
        """The session as it stood before event `position` (0-based): an open log, outcome unknown."""
        return self.model_copy(update={"events": self.events[:position], "outcome": Outcome()})

    def with_events(self, *events: Event) -> Session:
        """The log with events appended."""
        return self.model_copy(update={"events": (*self.events, *events)})
