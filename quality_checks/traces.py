"""Validation of sessions: the good go on, the unfinished are set aside, the bad are quarantined with every reason."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

from quality_checks.expectations import BAD_SHARE, COVERAGE, PROCEDURE_ROWS, SESSION_ROWS, STEP_ROWS
from quality_checks.results import (
    ExpectationOutcome,
    QuarantinedSession,
    UnreadableRow,
    ValidationResult,
    outcome,
)
from quality_checks.suite_run import SpecResult, run_suite
from quality_checks.tables import checked_sessions, checked_steps, operator_shares, procedure_table
from selective_autonomy.params import ValidationParams
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session


def validate_traces(
    sessions: Sequence[Session],
    schema: ProcessSchema,
    params: ValidationParams,
    *,
    now: datetime | None = None,
    unreadable: Sequence[UnreadableRow] = (),
) -> ValidationResult:
    """Check sessions against a process schema.

    Args:
        now: events after it are in the future; None: the machine's clock.
        unreadable: raw rows that `parse_raw` could not read; they count as bad.

    Returns:
        Outcomes of all of TRACE_EXPECTATIONS in that order. No sessions at all: the result blocks.
    """
    given = {**params.model_dump(), "process_id": schema.id, "version": schema.version}
    session_table = checked_sessions(sessions, schema, now or datetime.now(UTC))
    step_table = checked_steps(sessions, schema)
    ids = session_table["session_id"].tolist()

    on_sessions = run_suite(SESSION_ROWS, session_table, given)
    on_steps = run_suite(STEP_ROWS, step_table, given)
    session_of_step = step_table["session_row"].tolist()
    failures = _Failures(len(sessions))
    for result in on_sessions:
        failures.add(result, session_table, list(range(len(sessions))))
    for result in on_steps:
        failures.add(result, step_table, session_of_step)

    good, set_aside, quarantined = [], [], []
    for row, session in enumerate(sessions):
        if failures.is_bad[row]:
            reasons, details = failures.reasons[row], failures.details[row]
            quarantined.append(QuarantinedSession(session, tuple(reasons), tuple(details)))
        elif failures.is_set_aside[row]:
            set_aside.append(session)
        else:
            good.append(session)

    outcomes = [outcome(result, ids) for result in on_sessions]
    outcomes += [outcome(result, [ids[row] for row in session_of_step]) for result in on_steps]
    outcomes += _coverage_outcomes(good, schema, given)
    n_bad = len(quarantined) + len(unreadable)
    judged = pd.DataFrame({"is_bad": [0.0] * len(good) + [1.0] * n_bad})
    outcomes += [outcome(result, []) for result in run_suite(BAD_SHARE, judged, given)]
    return ValidationResult(good, set_aside, quarantined, tuple(unreadable), outcomes)


class _Failures:
    """Collects, for each session, which expectations it failed."""

    def __init__(self, n_sessions: int) -> None:
        self.is_bad = [False] * n_sessions
        self.is_set_aside = [False] * n_sessions
        self.reasons: list[dict[str, None]] = [{} for _ in range(n_sessions)]
        self.details: list[list[str]] = [[] for _ in range(n_sessions)]

    def add(self, result: SpecResult, table: pd.DataFrame, session_rows: list[int]) -> None:
        spec = result.spec
        notes = table[spec.detail].tolist() if spec.detail is not None and spec.detail in table else None
        for row in result.failing_rows:
            session_row = session_rows[row]
            self.is_bad[session_row] |= spec.effect in ("quarantine", "block")
            self.is_set_aside[session_row] |= spec.effect == "set_aside"
            self.reasons[session_row][spec.name] = None
            note = result.error or (notes[row] if notes is not None else None)
            if note is not None:
                self.details[session_row].append(f"{spec.name}: {note}")


def _coverage_outcomes(
    good: Sequence[Session], schema: ProcessSchema, given: dict[str, object]
) -> list[ExpectationOutcome]:
    operators = pd.DataFrame({"operator_id": pd.Series([s.operator_id for s in good], dtype="str")})
    operators = operators.assign(operator_share=operator_shares(operators["operator_id"]))
    procedures = procedure_table(good, schema)
    on_operators = [outcome(result, []) for result in run_suite(COVERAGE, operators, given)]
    on_procedures = run_suite(PROCEDURE_ROWS, procedures, given)
    return on_operators + [outcome(result, procedures["procedure"].tolist()) for result in on_procedures]
