"""Is every logged operator action legal where it was done? What the importers prove and validation checks."""

from __future__ import annotations

from collections.abc import Iterator

from selective_autonomy.errors import IllegalAction
from selective_autonomy.process.legality import check_action
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import Step, derive_screen, steps


def illegal_steps(session: Session, schema: ProcessSchema) -> Iterator[tuple[Step, IllegalAction]]:
    """Every step that the process schema does not allow on the screen it was done on, and why.

    A session of another process is not looked at step by step by this function: compare `process_id` first.
    """
    for step in steps(session):
        try:
            check_action(schema, derive_screen(step.before), step.action)
        except IllegalAction as err:
            yield step, err
