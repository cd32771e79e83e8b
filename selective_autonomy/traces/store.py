"""Sessions on disk: one Parquet file a process, or JSON lines. Written whole or not at all.

Columns beside the log are for looking around and for quick counts; reading trusts the log alone and refuses
a file whose columns contradict it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from selective_autonomy.errors import CorruptTraceFile
from selective_autonomy.traces.lines import read_lines
from selective_autonomy.traces.schema import OperatorAction, Session
from selective_autonomy.traces.whole import sha256_of, whole_file

__all__ = [
    "SESSION_COLUMNS",
    "read_jsonl",
    "read_sessions",
    "sha256_of",
    "whole_file",
    "write_jsonl",
    "write_sessions",
]

SESSION_COLUMNS = pa.schema(
    [
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("process_id", pa.string(), nullable=False),
        pa.field("operator_id", pa.string(), nullable=False),
        pa.field("started_at", pa.timestamp("us", tz="UTC")),
        pa.field("status", pa.string(), nullable=False),
        pa.field("n_steps", pa.int32(), nullable=False),
        pa.field("log", pa.string(), nullable=False),
    ]
)


def write_sessions(sessions: Iterable[Session], path: Path) -> str:
    """Write sessions to one Parquet file, in the order given; the same sessions give the same bytes.

    Returns:
        sha256 of the file, in hex.
    """
    rows = [_row(session) for session in sessions]
    table = pa.Table.from_pylist(rows, schema=SESSION_COLUMNS)
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=1000)
    return sha256_of(path)


def read_sessions(path: Path) -> list[Session]:
    """Read what `write_sessions` wrote, in order.

    Raises:
        CorruptTraceFile: the file is missing, truncated, not such a Parquet file, or a row (its 1-based number
            is `line`) does not hold a session or contradicts its columns.
    """
    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as err:
        raise CorruptTraceFile(path, 0, f"not a whole Parquet file ({err}); write or import it again") from err
    if not table.schema.equals(SESSION_COLUMNS):
        got = sorted(set(SESSION_COLUMNS.names) ^ set(table.schema.names)) or "other column types"
        raise CorruptTraceFile(path, 0, f"columns differ from a session file's: {got}; import it again")
    logs: Sequence[str] = table.column("log").to_pylist()
    ids, steps = table.column("session_id").to_pylist(), table.column("n_steps").to_pylist()
    sessions = [_session(log, path, row, "row") for row, log in enumerate(logs, start=1)]
    for row, (session, session_id, n_steps) in enumerate(zip(sessions, ids, steps, strict=True), start=1):
        if (session.session_id, _count_steps(session)) != (session_id, n_steps):
            raise CorruptTraceFile(
                path,
                row,
                f"row {row}: the columns say {session_id!r} with {n_steps} steps, the log says "
                f"{session.session_id!r} with {_count_steps(session)}; import it again",
            )
    return sessions


def write_jsonl(sessions: Iterable[Session], path: Path) -> str:
    """Write sessions as JSON lines, in the order given. Returns sha256 of the file, in hex."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for session in sessions:
            file.write(session.model_dump_json() + "\n")
    return sha256_of(path)


def read_jsonl(path: Path) -> list[Session]:
    """Read sessions from JSON lines (plain, or xz by its suffix), in order.

    Raises:
        CorruptTraceFile: the file cannot be read to its end, or a line is not a session.
    """
    return [_session(line, path, number, "line") for number, line in read_lines(path)]


def _row(session: Session) -> dict[str, object]:
    return {
        "session_id": session.session_id,
        "process_id": session.process_id,
        "operator_id": session.operator_id,
        "started_at": session.started_at,
        "status": session.outcome.status,
        "n_steps": _count_steps(session),
        "log": session.model_dump_json(),
    }


def _count_steps(session: Session) -> int:
    return sum(isinstance(event, OperatorAction) for event in session.events)


def _session(text: str, path: Path, number: int, unit: str) -> Session:
    try:
        return Session.model_validate_json(text)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the log"
        raise CorruptTraceFile(path, number, f"{unit} {number} is not a session ({where}: {first['msg']})") from err
