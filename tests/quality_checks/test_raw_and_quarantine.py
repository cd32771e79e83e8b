"""Rows that are no sessions, and the files that keep what did not go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_bank import NOW

from quality_checks.quarantine import read_quarantine, validation_report, write_quarantine
from quality_checks.raw import parse_raw
from quality_checks.traces import validate_traces
from selective_autonomy.errors import CorruptTraceFile
from selective_autonomy.params import ValidationParams
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session


def test_rows_that_are_no_sessions_are_kept_with_line_text_and_reasons(session: Callable[..., Session]) -> None:
    good = session()
    rows = [good.model_dump_json() + "\n", "\n", '{"session_id": "half', '{"session_id": 7, "colour": "red"}\n', "null"]
    sessions, unreadable = parse_raw(rows)
    assert sessions == [good]
    assert [(r.line, r.text) for r in unreadable] == [
        (3, '{"session_id": "half'),
        (4, '{"session_id": 7, "colour": "red"}'),
        (5, "null"),
    ]
    fields = {reason.partition(":")[0] for reason in unreadable[1].reasons}
    assert fields == {"session_id", "process_id", "process_version", "procedures", "operator_id", "source", "colour"}


def test_unreadable_rows_count_as_bad_and_can_block(
    schema: ProcessSchema, params: ValidationParams, session: Callable[..., Session]
) -> None:
    sessions, unreadable = parse_raw(["{"] * 3)
    assert sessions == []
    good = [session() for _ in range(40)]
    result = validate_traces(good, schema, params, now=NOW, unreadable=unreadable)
    assert result.bad_share == pytest.approx(3 / 43)
    assert result.blocks
    assert not validate_traces(good, schema, params, now=NOW, unreadable=unreadable[:2]).blocks


def test_a_quarantine_file_gives_back_what_was_put_in(
    tmp_path: Path, schema: ProcessSchema, params: ValidationParams, session: Callable[..., Session]
) -> None:
    _, unreadable = parse_raw(["{", "[]"])
    sessions = [session(operator_id=""), session(), session(events=())]
    result = validate_traces(sessions, schema, params, now=NOW, unreadable=unreadable)
    path = tmp_path / "deep" / "quarantine.parquet"
    write_quarantine(result, path)
    assert read_quarantine(path) == (result.quarantined, unreadable)
    assert [p.name for p in path.parent.iterdir()] == ["quarantine.parquet"]


def test_an_empty_quarantine_is_a_file_too(
    tmp_path: Path, schema: ProcessSchema, params: ValidationParams, session: Callable[..., Session]
) -> None:
    write_quarantine(validate_traces([session()], schema, params, now=NOW), tmp_path / "q.parquet")
    assert read_quarantine(tmp_path / "q.parquet") == ([], [])


@pytest.mark.parametrize("content", [b"", b"PAR1 not really", None])
def test_a_damaged_quarantine_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "q.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorruptTraceFile, match=r"q\.parquet"):
        read_quarantine(path)


def test_the_report_names_reasons_and_quotes_nothing_from_a_log(
    schema: ProcessSchema, params: ValidationParams, session: Callable[..., Session], text_events: Callable
) -> None:
    bad = session(events=text_events("mail secret.person@example.org"))
    report = validation_report(validate_traces([bad, *(session() for _ in range(9))], schema, params, now=NOW))
    assert "BLOCKED" in report
    assert "| free_text_holds_no_personal_data | 1 |" in report
    assert "secret.person" not in report
