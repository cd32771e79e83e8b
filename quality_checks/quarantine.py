"""The quarantine file: every bad session and unreadable row with every reason, and a report for people."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from quality_checks.results import QuarantinedSession, UnreadableRow, ValidationResult
from selective_autonomy.errors import CorruptTraceFile
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.store import whole_file

_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),  # "session" or "row"
        ("session_id", pa.string()),  # null for a row
        ("line", pa.int64()),  # null for a session
        ("text", pa.large_string()),  # the log as JSON, or the raw row
        ("reasons", pa.list_(pa.string())),
        ("details", pa.list_(pa.string())),
    ]
)


def write_quarantine(result: ValidationResult, path: Path) -> None:
    """Write all that was quarantined to one parquet file, also when that is nothing. Replaces `path` at once."""
    rows: list[dict[str, object]] = [
        {
            "kind": "session",
            "session_id": held.session.session_id,
            "line": None,
            "text": held.session.model_dump_json(),
            "reasons": list(held.reasons),
            "details": list(held.details),
        }
        for held in result.quarantined
    ]
    rows += [
        {"kind": "row", "session_id": None, "line": r.line, "text": r.text, "reasons": list(r.reasons), "details": []}
        for r in result.unreadable
    ]
    with whole_file(path) as unfinished:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), unfinished, compression="zstd")


def read_quarantine(path: Path) -> tuple[list[QuarantinedSession], list[UnreadableRow]]:
    """Read what `write_quarantine` wrote, in its order.

    Raises:
        CorruptTraceFile: the file is missing, is no quarantine file, or a log in it cannot be read.
    """
    try:
        rows = pq.read_table(path, schema=_SCHEMA).to_pylist()
    except (OSError, pa.ArrowException) as err:
        raise CorruptTraceFile(path, 0, f"cannot be read as a quarantine file: {err}") from err
    sessions, unreadable = [], []
    for number, row in enumerate(rows, start=1):
        reasons, details = tuple(row["reasons"]), tuple(row["details"])
        if row["kind"] == "row":
            unreadable.append(UnreadableRow(row["line"], row["text"], reasons))
            continue
        try:
            session = Session.model_validate_json(row["text"])
        except ValidationError as err:
            raise CorruptTraceFile(path, number, f"session {row['session_id']!r} cannot be read: {err}") from err
        sessions.append(QuarantinedSession(session, reasons, details))
    return sessions, unreadable


def validation_report(result: ValidationResult) -> str:
    """A markdown report: counts, every expectation, and how often each reason occurs. Quotes nothing from a log."""
    counts = result.counts
    lines = [
        "## Validation: " + ("BLOCKED" if result.blocks else "passed"),
        "",
        f"{counts['good']} sessions go on, {counts['set_aside']} are set aside (not worked to their end), "
        f"{counts['quarantined']} are quarantined, {counts['unreadable']} raw rows could not be read. "
        f"Bad share: {result.bad_share:.2%}.",
        "",
        "| suite | expectation | result | failing rows | observed | meaning |",
        "|---|---|---|---:|---|---|",
    ]
    for o in result.outcomes:
        verdict = "ok" if o.success else ("**blocks**" if o.blocking else o.severity)
        failing = f"{o.n_failed} of {o.n_rows}" if o.n_failed else ""
        noted = "could not be computed" if o.error else (o.observed or "")[:60]
        lines.append(f"| {o.suite} | {o.name} | {verdict} | {failing} | {noted} | {o.description} |")
    reasons = Counter(reason for held in result.quarantined for reason in held.reasons)
    reasons.update("unreadable" for _ in result.unreadable)
    if reasons:
        lines += ["", "| reason for quarantine | sessions |", "|---|---:|"]
        lines += [f"| {reason} | {n} |" for reason, n in reasons.most_common()]
    return "\n".join(lines) + "\n"


def outcomes_json(result: ValidationResult) -> str:
    """All outcomes with all failing ids, as JSON."""
    return json.dumps([vars(o) for o in result.outcomes], indent=1, sort_keys=True)
