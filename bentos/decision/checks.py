"""What a well-formed session must still satisfy before it is decided on: its process, its order, its own past."""

from __future__ import annotations

from bentos.decision.answers import Refused
from selective_autonomy.errors import IllegalAction
from selective_autonomy.process.legality import check_action
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps


def check_session(schema: ProcessSchema, session: Session, where: str) -> None:
    """Raise unless the log could have come about under this process schema.

    Args:
        where: path of the session in the body, for the refusal.

    Raises:
        Refused: 422: another process, an unknown procedure, times that run backwards, or a step that was not legal on
            the screen it was done on.
    """

    def refused(code: str, field: str, message: str) -> Refused:
        return Refused(422, code, f"{where}.{field}", message)

    if session.process_id != schema.id:
        raise refused("unknown_process", "process_id", f"this service serves {schema.id!r}, got {session.process_id!r}")
    if session.process_version != schema.version:
        return  # nothing here is known of another version; the bundle defers it with contract_mismatch
    known = schema.procedures_by_id
    for index, procedure in enumerate(session.procedures):
        if procedure not in known:
            message = f"got {procedure!r}, expected one of {sorted(known)}"
            raise refused("unknown_procedure", f"procedures.{index}", message)
    for index, (earlier, later) in enumerate(zip(session.events, session.events[1:], strict=False), start=1):
        if later.at < earlier.at:
            message = f"{later.at.isoformat()} is before {earlier.at.isoformat()}; send events in order"
            raise refused("bad_trace", f"events.{index}.at", message)
    for step in steps(session):
        try:
            check_action(schema, derive_screen(step.before), step.action)
        except IllegalAction as err:
            raise refused(err.code, f"events.{step.position}.action", str(err)) from err
