"""The columns that drift is looked for in, and how a window of sessions becomes a table with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from selective_autonomy.process.actions import head
from selective_autonomy.traces.schema import CustomerMessage, Session
from selective_autonomy.traces.screen import steps


@dataclass(frozen=True)
class DriftColumn:
    """A watched column. "log": compared as log(1 + x), because times and lengths have long tails that would
    otherwise be most of a distance."""

    name: str
    kind: Literal["category", "number"]
    scale: Literal["linear", "log"] = "linear"

    @property
    def method(self) -> Literal["jensenshannon", "wasserstein"]:
        """An effect size, not a p-value: on enough rows every p-value becomes small."""
        return "jensenshannon" if self.kind == "category" else "wasserstein"


DRIFT_COLUMNS = (
    DriftColumn("action_type", "category"),
    DriftColumn("head", "category"),
    DriftColumn("procedure", "category"),
    DriftColumn("accepted", "category"),
    DriftColumn("position", "number"),
    DriftColumn("text_length", "number", "log"),
    DriftColumn("seconds", "number", "log"),
    DriftColumn("p_head", "number"),
    DriftColumn("p_accept", "number"),
)
_FROM_FEEDBACK = ("accepted", "p_head", "p_accept")


def drift_frame(sessions: Sequence[Session], feedback: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row a step: `session_id`, `index`, and the columns of DRIFT_COLUMNS that are known.

    Args:
        feedback: rows with `session_id`, `index` and any of `accepted`, `p_head`, `p_accept`; steps without a row
            have missing values there. None: those columns are left out.

    Raises:
        pandas.errors.MergeError: `feedback` has two rows for one step.
    """
    columns = ["session_id", "index", "action_type", "head", "procedure", "position", "text_length", "seconds"]
    table = pd.DataFrame((row for session in sessions for row in _rows(session)), columns=columns)
    if feedback is None:
        return table
    known = ["session_id", "index", *(name for name in _FROM_FEEDBACK if name in feedback)]
    return table.merge(feedback[known], on=["session_id", "index"], how="left", validate="one_to_one")


def _rows(session: Session) -> Iterator[tuple[object, ...]]:
    """`text_length`: characters of the customer's last message before the step; 0 if there was none."""
    procedure = "+".join(sorted(session.procedures)) if len(session.procedures) < 4 else "4 or more"
    lengths = []
    length = 0
    for event in session.events:
        length = len(event.text) if isinstance(event, CustomerMessage) else length
        lengths.append(length)
    for step in steps(session):
        yield (
            session.session_id,
            step.index,
            step.action.type,
            head(step.action),
            procedure,
            step.index,
            lengths[step.position],
            step.seconds,
        )
