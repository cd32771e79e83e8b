"""What a well-formed session must still satisfy before it is decided on: its process, its order, its own past."""

from __future__ import annotations

from selective_autonomy.errors import IllegalAction
from selective_autonomy.process.legality import check_action
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps


class BadSession(ValueError):
    """A session that this service does not decide on. `field` is the dotted path of the culprit in the session."""

    def __init__(self, code: str, field: str, message: str) -> None:
        self.code, self.field = code, field
        super().__init__(message)


def check_session(schema: ProcessSchema, session: Session) -> None:
    """Raise unless the log could have come about under this process schema.

    Raises:
        BadSession: another process or version, an unknown procedure, times that run backwards, a step that was not
            legal on the screen it was done on, or a closed case.
    """
    if session.process_id != schema.id:
        raise BadSession(
            "unknown_process", "process_id", f"this service serves {schema.id!r}, got {session.process_id!r}"
        )
    if session.process_version != schema.version:
        raise BadSession(
            "unknown_process_version",
            "process_version",
            f"this service serves version {schema.version!r} of {schema.id!r}, got {session.process_version!r}",
        )
    for index, procedure in enumerate(session.procedures):
        if procedure not in schema.procedures_by_id:
            raise BadSession(
                "unknown_procedure",
                f"procedures.{index}",
                f"got {procedure!r}, expected one of {sorted(schema.procedures_by_id)}",
            )
    for index, (earlier, later) in enumerate(zip(session.events, session.events[1:], strict=False), start=1):
        if later.at < earlier.at:
            raise BadSession(
                "bad_trace", f"events.{index}.at", f"{later.at} is before {earlier.at}; send events in order"
            )
    for step in steps(session):
        try:
            check_action(schema, derive_screen(step.before), step.action)
        except IllegalAction as err:
            raise BadSession(err.code, f"events.{step.position}.action", str(err)) from err
    if derive_screen(session).closed:
        raise BadSession("case_closed", "events", "the case is closed; there is no next step to decide on")
