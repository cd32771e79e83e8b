"""The tables that expectations run on: one row a session, one row a step, with every check column computed once.

All per-session Python happens here, in one pass over each log; the expectations themselves are vectorised.
`session_row` (position in the input) is the key, because session ids may be the very thing that is wrong.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd

from quality_checks.personal_data import identifying_value, kinds_of_personal_data
from selective_autonomy.process.actions import SearchProcedure, SendReply, SendTextToChat, SubmitForm, UIAction, head
from selective_autonomy.process.schema import ProcessSchema, canonical_json
from selective_autonomy.traces.conformance import illegal_steps
from selective_autonomy.traces.schema import CopilotFeedback, ProposalShown, Session
from selective_autonomy.traces.screen import steps

# Clocks of desk and validator may differ a little; five minutes is what authentication protocols tolerate.
CLOCK_SKEW = timedelta(minutes=5)

_SESSION_TYPES = {
    "session_id": "str",
    "process_id": "str",
    "process_version": "str",
    "operator_id": "str",
    "started_at": "datetime64[us, UTC]",
    "status": "str",
    "n_steps": "int64",
    "session_id_is_unambiguous": "bool",
    "log_is_no_copy": "bool",
    "copy_of": "object",
    "procedures_are_known": "bool",
    "unknown_procedures": "object",
    "operator_id_is_a_pseudonym": "bool",
    "finished_session_has_a_step": "bool",
    "events_are_in_time_order": "bool",
    "no_event_is_in_the_future": "bool",
    "longest_gap_hours": "float64",
    "feedback_answers_a_shown_proposal": "bool",
    "logged_correction_has_a_reason": "bool",
    "operator_share": "float64",
}
_STEP_TYPES = {
    "session_row": "int64",
    "session_id": "str",
    "index": "int64",
    "at": "datetime64[us, UTC]",
    "action_type": "str",
    "head": "str",
    "seconds": "float64",
    "operator_id": "str",
    "every_action_is_legal": "bool",
    "why_illegal": "object",
    "free_text_holds_no_personal_data": "bool",
    "personal_data": "object",
}


def checked_sessions(sessions: Sequence[Session], schema: ProcessSchema, now: datetime) -> pd.DataFrame:
    """One row a session, in input order. No sessions: no rows, the same columns and types."""
    digests = [_log_digest(session) for session in sessions]
    digests_of_id: dict[str, set[str]] = {}
    first_with: dict[str, str] = {}
    rows = []
    for session, digest in zip(sessions, digests, strict=True):
        digests_of_id.setdefault(session.session_id, set()).add(digest)
    for session, digest in zip(sessions, digests, strict=True):
        # Empty logs are alike without being copies of each other.
        original = first_with.get(digest) if session.events else None
        first_with.setdefault(digest, session.session_id)
        rows.append(
            {
                **_session_facts(session, schema, now),
                "session_id_is_unambiguous": len(digests_of_id[session.session_id]) == 1,
                "log_is_no_copy": original is None,
                "copy_of": original,
            }
        )
    table = _typed(rows, _SESSION_TYPES)
    return table.assign(operator_share=operator_shares(table["operator_id"]))


def checked_steps(sessions: Sequence[Session], schema: ProcessSchema) -> pd.DataFrame:
    """One row a step, sessions in input order. `seconds` is NaN for a step that opens its log."""
    rows = [row for number, session in enumerate(sessions) for row in _step_rows(number, session, schema)]
    return _typed(rows, _STEP_TYPES)


def procedure_table(sessions: Sequence[Session], schema: ProcessSchema) -> pd.DataFrame:
    """One row a procedure of the schema: in how many sessions it is open."""
    counts = Counter(procedure for session in sessions for procedure in set(session.procedures))
    return pd.DataFrame(
        {"procedure": [p.id for p in schema.procedures], "n_sessions": [counts[p.id] for p in schema.procedures]}
    )


def operator_shares(operator_ids: pd.Series) -> pd.Series:
    """For each row, the share of all rows that its operator holds."""
    return operator_ids.map(operator_ids.value_counts(normalize=True)).astype("float64")


def _session_facts(session: Session, schema: ProcessSchema, now: datetime) -> dict[str, Any]:
    times = [event.at for event in session.events]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    n_steps = sum(event.kind == "operator_action" for event in session.events)
    unknown = sorted(set(session.procedures) - set(schema.procedures_by_id))
    operator = session.operator_id.strip()
    return {
        "session_id": session.session_id,
        "process_id": session.process_id,
        "process_version": session.process_version,
        "operator_id": session.operator_id,
        "started_at": session.started_at,
        "status": session.outcome.status,
        "n_steps": n_steps,
        "procedures_are_known": not unknown,
        "unknown_procedures": ", ".join(unknown) or None,
        "operator_id_is_a_pseudonym": bool(operator) and "@" not in operator and not any(map(str.isspace, operator)),
        "finished_session_has_a_step": session.outcome.status != "complete" or n_steps > 0,
        "events_are_in_time_order": all(gap >= 0 for gap in gaps),
        "no_event_is_in_the_future": all(at <= now + CLOCK_SKEW for at in times),
        "longest_gap_hours": max((abs(gap) for gap in gaps), default=0.0) / 3600,
        "feedback_answers_a_shown_proposal": _feedback_is_answered_once(session),
        "logged_correction_has_a_reason": all(
            event.verdict == "accept" or event.reason is not None
            for event in session.events
            if isinstance(event, CopilotFeedback)
        ),
    }


def _step_rows(number: int, session: Session, schema: ProcessSchema) -> list[dict[str, Any]]:
    rows = []
    typed_before: set[str] = set()
    illegal = {step.index: error for step, error in illegal_steps(session, schema)}
    for step in steps(session):
        why_illegal = f"step {step.index}: {illegal[step.index]}" if step.index in illegal else None
        kinds = _leaks(step.action, schema, typed_before)
        typed_before |= _identifying_values(step.action, schema)
        rows.append(
            {
                "session_row": number,
                "session_id": session.session_id,
                "index": step.index,
                "at": session.events[step.position].at,
                "action_type": step.action.type,
                "head": head(step.action),
                "seconds": step.seconds,
                "operator_id": session.operator_id,
                "every_action_is_legal": why_illegal is None,
                "why_illegal": why_illegal,
                "free_text_holds_no_personal_data": not kinds,
                "personal_data": f"step {step.index}: {', '.join(kinds)}" if kinds else None,
            }
        )
    return rows


def _leaks(action: UIAction, schema: ProcessSchema, typed_before: set[str]) -> tuple[str, ...]:
    """Kinds of personal data in what the operator wrote; slots that are marked as PII may hold some."""
    match action:
        case SendTextToChat(text=text) | SearchProcedure(query=text):
            texts = [text]
        case SendReply(template=template, slots=slots):
            reply = schema.replies_by_id.get(template)
            marked = {slot.id for slot in reply.slots if slot.pii} if reply else set()
            texts = [str(value) for name, value in slots.items() if name not in marked]
        case _:
            return ()
    return tuple(dict.fromkeys(kind for text in texts for kind in kinds_of_personal_data(text, typed_before)))


def _identifying_values(action: UIAction, schema: ProcessSchema) -> set[str]:
    if not isinstance(action, SubmitForm) or action.form not in schema.forms_by_id:
        return set()
    form = schema.forms_by_id[action.form]
    found = {identifying_value(action.values[f.id]) for f in form.fields if f.pii and f.id in action.values}
    return {value for value in found if value is not None}


def _feedback_is_answered_once(session: Session) -> bool:
    waiting: set[str] = set()
    for event in session.events:
        if isinstance(event, ProposalShown):
            waiting.add(event.proposal_id)
        elif isinstance(event, CopilotFeedback):
            if event.proposal_id not in waiting:
                return False
            waiting.remove(event.proposal_id)
    return True


def _log_digest(session: Session) -> str:
    """sha256 of everything in a session but its id."""
    content = session.model_dump(mode="json", exclude={"session_id", "labels"})
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def _typed(rows: list[dict[str, Any]], types: Mapping[str, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(types))
    return table.astype(types)
