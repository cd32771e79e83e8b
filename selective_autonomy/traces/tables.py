"""Sessions, steps and feedback as flat tables, for validation, drift and figures. One pass over the events each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from selective_autonomy.process.actions import UIAction, head
from selective_autonomy.traces.schema import CopilotFeedback, OperatorAction, ProposalShown, Session
from selective_autonomy.traces.screen import steps

SESSION_TABLE = (
    "session_id", "process_id", "process_version", "operator_id", "procedures", "source", "stratum", "status",
    "started_at", "ended_at", "n_events", "n_steps",
)  # fmt: skip
STEP_TABLE = (
    "session_id", "process_id", "operator_id", "procedures", "index", "position", "at", "seconds", "action_type",
    "head", "by", "follows", "stratum",
)  # fmt: skip
FEEDBACK_TABLE = (
    "session_id", "process_id", "operator_id", "position", "proposal_id", "at", "shown_at", "seconds", "verdict",
    "reason", "p_accept", "proposed_head", "done_head",
)  # fmt: skip
TIMES = frozenset({"started_at", "ended_at", "at", "shown_at"})
COUNTS = frozenset({"n_events", "n_steps", "index", "position"})
MEASURES = frozenset({"seconds", "p_accept"})


def session_table(sessions: Sequence[Session]) -> pd.DataFrame:
    """One row a session, in order.

    Columns as in `SESSION_TABLE`: `procedures` joined by "+", `stratum` "all" where there is no label, times in UTC
    (NaT for an empty log).
    """
    rows = [
        (
            s.session_id, s.process_id, s.process_version, s.operator_id, "+".join(s.procedures), s.source, _stratum(s),
            s.outcome.status, s.started_at, s.events[-1].at if s.events else None, len(s.events),
            sum(isinstance(event, OperatorAction) for event in s.events),
        )
        for s in sessions
    ]  # fmt: skip
    return _table(rows, SESSION_TABLE)


def step_table(sessions: Sequence[Session]) -> pd.DataFrame:
    """One row a step (operator action), in order of session and log.

    Columns as in `STEP_TABLE`: `index` counts the session's steps from 0, `position` is the event's place in the log,
    `seconds` the time since the event before it (NaN for the first event), `follows` the kind of that event ("" for
    the first), `procedures` joined by "+".
    """
    rows = []
    for s in sessions:
        procedures, stratum = "+".join(s.procedures), _stratum(s)
        for step in steps(s):
            event = s.events[step.position]
            assert isinstance(event, OperatorAction)
            follows = s.events[step.position - 1].kind if step.position else ""
            rows.append(
                (
                    s.session_id, s.process_id, s.operator_id, procedures, step.index, step.position, event.at,
                    step.seconds, step.action.type, head(step.action), event.by, follows, stratum,
                )
            )  # fmt: skip
    return _table(rows, STEP_TABLE)


def feedback_table(sessions: Sequence[Session]) -> pd.DataFrame:
    """One row a copilot answer (accept or correct), in order of session and log.

    Columns as in `FEEDBACK_TABLE`: `shown_at`, `p_accept` and `proposed_head` are those of the proposal of the same id
    before it (missing if there is none), `done_head` that of the operator action that follows (missing if none does),
    `seconds` from shown to answered (NaN where it was not measured), `position` the answer's place in the log.
    """
    rows = []
    for s in sessions:
        shown: dict[str, ProposalShown] = {}
        for position, event in enumerate(s.events):
            if isinstance(event, ProposalShown):
                shown[event.proposal_id] = event
            elif isinstance(event, CopilotFeedback):
                proposal = shown.get(event.proposal_id)
                done = _next_action(s, position)
                rows.append(
                    (
                        s.session_id, s.process_id, s.operator_id, position, event.proposal_id, event.at,
                        proposal.at if proposal else None, event.seconds, event.verdict, event.reason,
                        proposal.p_accept if proposal else None, head(proposal.action) if proposal else None,
                        head(done) if done else None,
                    )
                )  # fmt: skip
    return _table(rows, FEEDBACK_TABLE)


def _next_action(session: Session, position: int) -> UIAction | None:
    for event in session.events[position + 1 :]:
        if isinstance(event, OperatorAction):
            return event.action
        if isinstance(event, ProposalShown | CopilotFeedback):
            return None  # the next proposal was shown before anything was done
    return None


def _stratum(session: Session) -> str:
    return session.labels.get("stratum", "all")


def _table(rows: Sequence[tuple[Any, ...]], columns: tuple[str, ...]) -> pd.DataFrame:
    """Every column gets the type that its name has, so that an empty table has the same types as a full one."""
    given = zip(columns, zip(*rows, strict=True) if rows else [()] * len(columns), strict=True)
    return pd.DataFrame({name: _column(name, values) for name, values in given}, columns=list(columns))


def _column(name: str, values: Sequence[Any]) -> Any:
    if name in TIMES:
        return pd.to_datetime(pd.Series(values, dtype="object"), utc=True).dt.as_unit("us")
    dtype = "int64" if name in COUNTS else "float64" if name in MEASURES else "str"
    return pd.Series(values, dtype=dtype)
