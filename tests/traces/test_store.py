from __future__ import annotations

import lzma
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bike_shop import session

from selective_autonomy.errors import CorruptTraceFile
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.store import read_jsonl, read_sessions, sha256_of, write_jsonl, write_sessions
from selective_autonomy.traces.whole import whole_directory, whole_file

SESSIONS = [session(n) for n in range(5)] + [session(9).before(0)]


def test_parquet_gives_back_equal_sessions_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "sessions.parquet"
    digest = write_sessions(SESSIONS, path)
    assert read_sessions(path) == SESSIONS
    assert digest == sha256_of(path)


def test_no_sessions_are_a_file_with_no_rows(tmp_path: Path) -> None:
    write_sessions([], tmp_path / "none.parquet")
    assert read_sessions(tmp_path / "none.parquet") == []


def test_the_same_sessions_give_the_same_bytes(tmp_path: Path) -> None:
    assert write_sessions(SESSIONS, tmp_path / "a.parquet") == write_sessions(SESSIONS, tmp_path / "b.parquet")


def test_the_columns_beside_the_log_can_be_counted_without_reading_it(tmp_path: Path) -> None:
    write_sessions(SESSIONS, tmp_path / "s.parquet")
    table = pq.read_table(tmp_path / "s.parquet", columns=["n_steps", "started_at", "status"])
    assert table.column("n_steps").to_pylist() == [3, 3, 3, 3, 3, 0]
    assert table.column("started_at").to_pylist() == [s.started_at for s in SESSIONS]


def test_json_lines_give_back_equal_sessions_plain_and_compressed(tmp_path: Path) -> None:
    plain, packed = tmp_path / "s.jsonl", tmp_path / "s.jsonl.xz"
    write_jsonl(SESSIONS, plain)
    packed.write_bytes(lzma.compress(plain.read_bytes()))
    assert read_jsonl(plain) == read_jsonl(packed) == SESSIONS


def _fails_after_two() -> Iterator[Session]:
    yield from SESSIONS[:2]
    raise RuntimeError("the source broke")


@pytest.mark.parametrize("write", [write_sessions, write_jsonl])
def test_a_writer_that_fails_midway_leaves_the_old_file_and_nothing_else(tmp_path: Path, write: object) -> None:
    path = tmp_path / "sessions"
    write(SESSIONS, path)  # type: ignore[operator]
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="the source broke"):
        write(_fails_after_two(), path)  # type: ignore[operator]
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["sessions"]


KILLED = """
import os, signal, sys
from pathlib import Path
from selective_autonomy.traces.whole import whole_directory, whole_file
whole = {"file": whole_file, "directory": whole_directory}[sys.argv[1]]
with whole(Path(sys.argv[2])) as temporary:
    (temporary / "part" if temporary.is_dir() else temporary).write_text("half of i")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_killed_writer_leaves_nothing_in_place_and_the_next_one_removes_its_rest(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    died = subprocess.run([sys.executable, "-c", KILLED, kind, str(path)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert not path.exists()
    if kind == "file":
        with whole_file(path) as temporary:
            temporary.write_text("whole")
    else:
        with whole_directory(path) as temporary:
            (temporary / "part").write_text("whole")
    assert os.listdir(tmp_path) == ["out"]


def test_the_rest_of_a_writer_that_is_alive_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_truncated_parquet_file_is_an_error_that_names_it(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "sessions.parquet"
    write_sessions(SESSIONS, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptTraceFile, match=r"sessions\.parquet: not a whole Parquet file"):
        read_sessions(path)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(CorruptTraceFile, match=r"gone\.parquet"):
        read_sessions(tmp_path / "gone.parquet")
    with pytest.raises(CorruptTraceFile, match=r"gone\.jsonl"):
        read_jsonl(tmp_path / "gone.jsonl")


def _with_column(path: Path, name: str, values: list[object]) -> None:
    table = pq.read_table(path)
    at = table.schema.get_field_index(name)
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type)), path)


def test_a_row_that_is_no_session_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sessions.parquet"
    write_sessions(SESSIONS[:3], path)
    logs = [s.model_dump_json() for s in SESSIONS[:3]]
    _with_column(path, "log", [logs[0], logs[1].replace('"procedures":["rent"]', '"procedures":[]'), logs[2]])
    with pytest.raises(CorruptTraceFile, match=r"row 2 is not a session .*procedures") as caught:
        read_sessions(path)
    assert caught.value.line == 2


def test_columns_that_contradict_the_log_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sessions.parquet"
    write_sessions(SESSIONS[:2], path)
    _with_column(path, "n_steps", [3, 4])
    with pytest.raises(
        CorruptTraceFile, match="row 2: the columns say 'bikes-0001' with 4 steps, the log says"
    ) as caught:
        read_sessions(path)
    assert caught.value.line == 2


def test_a_parquet_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(CorruptTraceFile, match="columns differ"):
        read_sessions(path)


@pytest.mark.parametrize("damage", ["{", "", '{"session_id": "x"}', "[]"])
def test_a_bad_json_line_is_an_error_that_names_file_and_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "s.jsonl"
    good = SESSIONS[0].model_dump_json()
    path.write_text(f"{good}\n{damage}\n{good}\n")
    with pytest.raises(CorruptTraceFile, match=r"s\.jsonl, line 2: line 2 is not a session") as caught:
        read_jsonl(path)
    assert caught.value.line == 2


def test_a_cut_off_xz_stream_names_the_line_that_could_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl.xz"
    write_jsonl([session(n) for n in range(300)], tmp_path / "s.jsonl")
    packed = lzma.compress((tmp_path / "s.jsonl").read_bytes())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(CorruptTraceFile, match="xz stream is damaged or cut off") as caught:
        read_jsonl(path)
    assert caught.value.line >= 1


def test_text_that_is_not_utf8_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(SESSIONS[0].model_dump_json().encode() + b"\n\xff\xfe\n")
    with pytest.raises(CorruptTraceFile, match="not UTF-8") as caught:
        read_jsonl(path)
    assert caught.value.line in (1, 2)  # the decoder reads ahead of the lines
