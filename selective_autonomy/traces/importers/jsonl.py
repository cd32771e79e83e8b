"""The project's own traces: JSON lines (plain or xz) or Parquet, under a process schema that is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from selective_autonomy.errors import CorruptTraceFile, TraceError
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.importers.result import ImportResult, conclude
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.store import read_jsonl, read_sessions

FILES = ("sessions.parquet", "sessions.jsonl", "sessions.jsonl.xz")


def find_sessions(directory: Path) -> Path:
    """The one session file of a folder.

    Raises:
        TraceError: there is none, or more than one.
    """
    found = [directory / name for name in FILES if (directory / name).is_file()]
    if len(found) != 1:
        raise TraceError(f"{directory}: got {[path.name for path in found]}, expected exactly one of {list(FILES)}")
    return found[0]


def import_jsonl(path: Path, schema: ProcessSchema, *, on_session: Callable[[], None] | None = None) -> ImportResult:
    """Import sessions that are already in this project's form.

    Steps that the schema does not allow are counted in the report, not refused: validation decides about them.

    Raises:
        CorruptTraceFile: the file cannot be read to its end; a line or row is not a session, belongs to another
            process or process version, names an unknown procedure, or repeats a session id.
    """
    sessions = read_sessions(path) if path.suffix == ".parquet" else read_jsonl(path)
    seen: Counter[str] = Counter()
    for number, session in enumerate(sessions, start=1):
        seen[session.session_id] += 1
        problem = _problem(session, schema, repeated=seen[session.session_id] > 1)
        if problem:
            raise CorruptTraceFile(path, number, f"session {session.session_id!r}: {problem}")
    return conclude(sessions, schema, source=path.name, on_session=on_session)


def _problem(session: Session, schema: ProcessSchema, *, repeated: bool) -> str | None:
    if repeated:
        return "this session id stands in an earlier line; ids must be unique"
    got, expected = (session.process_id, session.process_version), (schema.id, schema.version)
    if got != expected:
        return f"got process {got[0]!r} version {got[1]!r}, expected {expected[0]!r} version {expected[1]!r}"
    unknown = sorted(set(session.procedures) - set(schema.procedures_by_id))
    if unknown:
        return f"got procedures {unknown}, expected some of {sorted(schema.procedures_by_id)}"
    return None
