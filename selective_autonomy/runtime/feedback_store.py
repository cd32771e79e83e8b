"""Operators' answers to proposals, durable before they are acknowledged and stored once however often they are sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, Text, create_engine, event, func, select
from sqlalchemy.exc import SQLAlchemyError

from selective_autonomy.errors import StoreError
from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import UIAction
from selective_autonomy.process.schema import canonical_json
from selective_autonomy.traces.schema import CorrectReason, Verdict

# One SQL statement takes at most 32,766 values on SQLite; keys are looked up in pieces well below that.
KEYS_PER_QUERY = 1000
# A writer waits this long for another process's transaction, far longer than any of ours takes.
BUSY_SECONDS = 10.0

Recorded = Literal["stored", "repeated", "conflict"]


class FeedbackRecord(Frozen):
    """One answer to one proposal.

    Args:
        idempotency_key: chosen by the sender, once per answer; sending again uses the same key.
        proposal_id: the proposal that was judged, as the decision or the suggestion named it.
        reason: why a proposal was corrected; None for an accepted one.
        action: what the operator did instead; None for an accepted one, or when it is not known (yet).
        seconds: time from shown to answered, in seconds.
    """

    idempotency_key: str = Field(min_length=1, max_length=200)
    process_id: str = Field(min_length=1, max_length=200)
    session_id: str = Field(min_length=1, max_length=200)
    proposal_id: str = Field(min_length=1, max_length=200)
    verdict: Verdict
    reason: CorrectReason | None = Field(default=None, validate_default=True)
    action: UIAction | None = None
    operator_id: str = Field(default="unknown", min_length=1, max_length=200)
    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    @field_validator("reason")
    @classmethod
    def _belongs_to_a_correction(cls, reason: CorrectReason | None, info: ValidationInfo) -> CorrectReason | None:
        verdict = info.data.get("verdict")
        if verdict is not None and (verdict == "correct") != (reason is not None):
            raise ValueError(f"got {reason!r} with verdict {verdict!r}; give a reason for 'correct', and only then")
        return reason

    @field_validator("action")
    @classmethod
    def _replaces_what_was_corrected(cls, action: UIAction | None, info: ValidationInfo) -> UIAction | None:
        if action is not None and info.data.get("verdict") == "accept":
            raise ValueError("an accepted proposal has no other action; leave `action` out or send 'correct'")
        return action

    @property
    def digest(self) -> str:
        """sha256 of the content: two records with one key are the same answer if this agrees."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()


_metadata = MetaData()
_feedback = Table(
    "feedback",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("idempotency_key", String(200), nullable=False, unique=True),
    Column("digest", String(64), nullable=False),
    Column("received_at", String(40), nullable=False),
    Column("record", Text, nullable=False),
)


class FeedbackStore:
    """An append-only table in one SQLite file (WAL). Safe for several threads and processes.

    A batch is one transaction: it is on disk as a whole when `record` returns, or not at all.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the store.

        Raises:
            StoreError: the folder or file cannot be made, or the file is not such a store.
        """
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS})
            event.listen(self._engine, "connect", _configure)
            event.listen(self._engine, "begin", _begin)
            with self._transaction("open") as connection:
                _metadata.create_all(connection)
        except OSError as err:
            raise StoreError(f"cannot open the feedback store {path}: {err}; give a writable path") from err

    def record(self, records: Sequence[FeedbackRecord]) -> list[Recorded]:
        """Make a batch durable; one answer per record, in order. Empty in, empty out.

        `stored`: new. `repeated`: the same record was there before, nothing changed. `conflict`: the key was
        used for another record, this one was not kept.

        Raises:
            StoreError: nothing of the batch was kept.
        """
        if not records:
            return []
        received_at = datetime.now(UTC).isoformat()
        answers: list[Recorded] = []
        rows: list[dict[str, str]] = []
        with self._transaction("write to") as connection:
            known = _digests(connection, [r.idempotency_key for r in records])
            for item in records:
                digest = item.digest
                if item.idempotency_key in known:
                    answers.append("repeated" if known[item.idempotency_key] == digest else "conflict")
                    continue
                known[item.idempotency_key] = digest
                rows.append(
                    {
                        "idempotency_key": item.idempotency_key,
                        "digest": digest,
                        "received_at": received_at,
                        "record": item.model_dump_json(),
                    }
                )
                answers.append("stored")
            if rows:
                connection.execute(_feedback.insert(), rows)
        return answers

    def records(self, process_id: str | None = None) -> list[FeedbackRecord]:
        """Everything stored, oldest first; of one process if given."""
        with self._transaction("read") as connection:
            texts = connection.scalars(select(_feedback.c.record).order_by(_feedback.c.id)).all()
        kept = [FeedbackRecord.model_validate_json(text) for text in texts]
        return [r for r in kept if process_id is None or r.process_id == process_id]

    def count(self) -> int:
        with self._transaction("read") as connection:
            return connection.scalar(select(func.count()).select_from(_feedback)) or 0

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as err:
            raise StoreError(
                f"cannot {doing} the feedback store {self._path}: {err}; check disk space, permissions and that "
                "the file is a feedback store"
            ) from err


def _digests(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    known: dict[str, str] = {}
    for start in range(0, len(keys), KEYS_PER_QUERY):
        piece = keys[start : start + KEYS_PER_QUERY]
        columns = select(_feedback.c.idempotency_key, _feedback.c.digest)
        known.update(
            {row[0]: row[1] for row in connection.execute(columns.where(_feedback.c.idempotency_key.in_(piece)))}
        )
    return known


def _configure(connection: Any, _record: object) -> None:
    # The driver's own implicit BEGIN comes too late for `_begin`; it is turned off and ours is used.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # NORMAL would lose acknowledged feedback when the power fails
    cursor.close()


def _begin(connection: Connection) -> None:
    # The write lock is taken before the keys are read, so that no other process can use a key in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
