"""Feedback is on disk before it is acknowledged, and there once however often it is sent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from selective_autonomy.errors import StoreError
from selective_autonomy.process.actions import SendTextToChat
from selective_autonomy.runtime.feedback_store import FeedbackRecord, FeedbackStore


def _accept(key: str, **changes: object) -> FeedbackRecord:
    fields = {"idempotency_key": key, "process_id": "p", "session_id": "s", "proposal_id": "x", "verdict": "accept"}
    return FeedbackRecord.model_validate({**fields, **changes})


def test_what_was_stored_is_read_back_in_order(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.db")
    corrected = _accept(
        "b", verdict="correct", reason="wrong", action=SendTextToChat(text="Ünïcode\x00 <b>"), seconds=2.5
    )
    assert store.record([_accept("a"), corrected]) == ["stored", "stored"]
    assert store.records() == [_accept("a"), corrected]


def test_an_empty_batch_changes_nothing(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.db")
    assert store.record([]) == []
    assert store.count() == 0


def test_the_same_record_again_is_a_repetition_and_another_body_a_conflict(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.db")
    store.record([_accept("a")])
    assert store.record([_accept("a")]) == ["repeated"]
    assert store.record([_accept("a", session_id="other")]) == ["conflict"]
    assert store.records() == [_accept("a")]


def test_a_key_twice_in_one_batch_is_stored_once(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.db")
    answers = store.record([_accept("a"), _accept("a"), _accept("a", proposal_id="y")])
    assert answers == ["stored", "repeated", "conflict"]
    assert store.count() == 1


@settings(max_examples=30, deadline=None)
@given(batches=st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xy")), max_size=6), max_size=6))
def test_a_store_keeps_the_first_record_of_every_key(tmp_path_factory: pytest.TempPathFactory, batches: list) -> None:
    store = FeedbackStore(tmp_path_factory.mktemp("store") / "feedback.db")
    first: dict[str, str] = {}
    for batch in batches:
        expected = []
        for key, proposal in batch:
            expected.append("stored" if key not in first else "repeated" if first[key] == proposal else "conflict")
            first.setdefault(key, proposal)
        assert store.record([_accept(key, proposal_id=proposal) for key, proposal in batch]) == expected
    assert {r.idempotency_key: r.proposal_id for r in store.records()} == first
    store.close()


def test_records_of_one_process_can_be_read_alone(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.db")
    store.record([_accept("a"), _accept("b", process_id="q")])
    assert [r.idempotency_key for r in store.records("q")] == ["b"]


def test_a_correction_needs_a_reason_and_an_acceptance_has_none() -> None:
    with pytest.raises(ValidationError, match="give a reason"):
        _accept("a", verdict="correct")
    with pytest.raises(ValidationError, match="give a reason"):
        _accept("a", reason="wrong")
    with pytest.raises(ValidationError, match="no other action"):
        _accept("a", action=SendTextToChat(text="hello"))


def test_seconds_that_are_no_number_are_refused() -> None:
    for seconds in (float("nan"), float("inf"), -1.0):
        with pytest.raises(ValidationError):
            _accept("a", seconds=seconds)


def test_a_file_that_is_no_store_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreError, match=r"feedback\.db"):
        FeedbackStore(path)


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="writable path"):
        FeedbackStore(tmp_path / "file" / "feedback.db")


def test_a_batch_that_fails_is_not_kept_in_part(tmp_path: Path) -> None:
    """A trigger refuses one record of the batch, as a full disk would."""
    import sqlite3

    path = tmp_path / "feedback.db"
    store = FeedbackStore(path)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON feedback WHEN NEW.idempotency_key = 'c' "
            "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    with pytest.raises(StoreError, match="disk full"):
        store.record([_accept("a"), _accept("b"), _accept("c")])
    assert store.count() == 0
    assert store.record([_accept("a")]) == ["stored"]


def test_threads_that_send_the_same_keys_store_each_once(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.db")
    answers: list[str] = []

    def send() -> None:
        for n in range(40):
            answers.extend(store.record([_accept(f"k{n}")]))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count("stored") == 40
    assert answers.count("repeated") == 120
    assert store.count() == 40


_WRITER = """
import sys
from pathlib import Path
from selective_autonomy.runtime.feedback_store import FeedbackRecord, FeedbackStore
store = FeedbackStore(Path(sys.argv[1]))
for n in range(10**9):
    batch = [
        FeedbackRecord(idempotency_key=f"{n}-{i}", process_id="p", session_id="s", proposal_id="x", verdict="accept")
        for i in range(5)
    ]
    assert store.record(batch) == ["stored"] * 5
    print(n, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(30)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout.read().split()]
    store = FeedbackStore(path)
    kept = [r.idempotency_key for r in store.records()]
    expected = [f"{n}-{i}" for n in acknowledged for i in range(5)]
    assert kept[: len(expected)] == expected
    assert len(kept) % 5 == 0, "a batch was kept in part"
    assert store.record([_accept(f"{acknowledged[-1]}-0")]) == ["repeated"]
