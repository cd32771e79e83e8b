"""The project's own JSONL and Parquet, and what is published about their form."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from bike_shop import SCHEMA, session
from small_star import write_packed

from selective_autonomy.errors import CorruptTraceFile, TraceError
from selective_autonomy.process.actions import SubmitForm
from selective_autonomy.process.schema import load_process
from selective_autonomy.traces.conformance import illegal_steps
from selective_autonomy.traces.importers.jsonl import find_sessions, import_jsonl
from selective_autonomy.traces.importers.result import save_import
from selective_autonomy.traces.importers.star import import_star
from selective_autonomy.traces.json_schemas import json_schema, publish_schemas, stale_schemas
from selective_autonomy.traces.schema import OperatorAction, Session
from selective_autonomy.traces.store import read_sessions, write_jsonl, write_sessions

ROOT = Path(__file__).resolve().parents[2]


def renting(days: object) -> Session:
    s = session(50)
    action = OperatorAction(at=s.events[-1].at, action=SubmitForm(form="rent_bike", values={"days": days}))  # type: ignore[dict-item]
    return s.with_events(action)


@pytest.mark.parametrize(("name", "write"), [("s.jsonl", write_jsonl), ("s.parquet", write_sessions)])
def test_own_traces_come_in_as_they_are_and_their_steps_are_checked(tmp_path: Path, name: str, write: object) -> None:
    sessions = [session(1), renting(0), session(2, status="open")]
    write(sessions, tmp_path / name)  # type: ignore[operator]
    found = import_jsonl(tmp_path / name, SCHEMA)
    assert list(found.sessions) == sessions
    assert {reason: i.count for reason, i in found.report.illegal.items()} == {"submit_form:rent_bike: days": 1}
    assert found.report.sessions_by_status == {"complete": 2, "open": 1}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"process_id": "boats"}, "got process 'boats' version '1', expected 'bikes' version '1'"),
        ({"process_version": "2"}, "got process 'bikes' version '2'"),
        ({"procedures": ("fly",)}, r"got procedures \['fly'\], expected some of \['rent'\]"),
        ({"session_id": "bikes-0001"}, "ids must be unique"),
    ],
)
def test_a_session_that_does_not_belong_names_its_line(tmp_path: Path, change: dict[str, object], why: str) -> None:
    write_jsonl([session(1), session(2).model_copy(update=change)], tmp_path / "s.jsonl")
    with pytest.raises(CorruptTraceFile, match=why) as caught:
        import_jsonl(tmp_path / "s.jsonl", SCHEMA)
    assert caught.value.line == 2


def test_a_folder_must_hold_exactly_one_session_file(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"got \[\], expected exactly one"):
        find_sessions(tmp_path)
    write_jsonl([], tmp_path / "sessions.jsonl")
    assert find_sessions(tmp_path) == tmp_path / "sessions.jsonl"
    write_sessions([], tmp_path / "sessions.parquet")
    with pytest.raises(TraceError, match="expected exactly one"):
        find_sessions(tmp_path)


def test_examples_of_illegal_steps_are_at_most_twenty_and_the_count_is_whole(tmp_path: Path) -> None:
    bad = [renting(0).model_copy(update={"session_id": f"bad-{n}"}) for n in range(30)]
    write_jsonl(bad, tmp_path / "s.jsonl")
    report = import_jsonl(tmp_path / "s.jsonl", SCHEMA).report
    assert report.illegal_count == 30
    assert len(report.illegal["submit_form:rent_bike: days"].examples) == 20


def test_every_illegal_step_is_found_with_its_reason_and_legal_ones_are_not() -> None:
    found = [(step.index, why.field) for step, why in illegal_steps(renting("three"), SCHEMA)]
    assert found == [(3, "days")]


def test_an_import_is_saved_as_sessions_schema_and_report(tmp_path: Path) -> None:
    found = import_star(write_packed(tmp_path / "star"))
    save_import(found, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "import_report.json",
        "process.yaml",
        "sessions.parquet",
    ]
    assert tuple(read_sessions(tmp_path / "out" / "sessions.parquet")) == found.sessions
    assert load_process(tmp_path / "out" / "process.yaml") == found.schema
    assert json.loads((tmp_path / "out" / "import_report.json").read_text())["steps"] == found.report.steps
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "star"]


def test_the_published_json_schemas_are_those_of_the_code() -> None:
    assert stale_schemas(ROOT / "docs" / "schemas") == []


def test_a_changed_or_missing_published_schema_is_noticed(tmp_path: Path) -> None:
    session_schema, process_schema = publish_schemas(tmp_path)
    assert stale_schemas(tmp_path) == []
    session_schema.write_text(session_schema.read_text().replace("procedures", "policies"))
    process_schema.unlink()
    assert stale_schemas(tmp_path) == [session_schema, process_schema]


@pytest.mark.parametrize("name", ["session", "process"])
def test_what_the_project_writes_follows_the_published_json_schema(name: str) -> None:
    values = {"session": session(1), "process": SCHEMA}
    validator = jsonschema.Draft202012Validator(json_schema(name))
    value = json.loads(values[name].model_dump_json(by_alias=True))
    assert list(validator.iter_errors(value)) == []
    assert not validator.is_valid({**value, "surprise": 1})
