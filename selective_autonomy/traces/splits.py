"""Splits by session and time: train (policy) / fit (critic) / calibrate (threshold) / test, never one for two jobs."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from selective_autonomy.errors import CorruptTraceFile, SplitError
from selective_autonomy.params import SplitShares
from selective_autonomy.traces.schema import OperatorAction, Session
from selective_autonomy.traces.whole import whole_file

Split = Literal["train", "fit", "calibrate", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


def is_splittable(session: Session) -> bool:
    """True for a case worked to its end with at least one step; only these are trained and measured on."""
    return session.outcome.status == "complete" and any(isinstance(e, OperatorAction) for e in session.events)


def assign_splits(sessions: Sequence[Session], shares: SplitShares) -> dict[str, Split]:
    """Give every splittable session one side; the others are left out.

    Strata are `labels["stratum"]` ("all" where there is none). In each, sessions in order of their first event, then
    id, are cut at the floor of the cumulated shares: training is earlier than what is measured on.

    Raises:
        SplitError: an id occurs twice, or a side would be empty.
    """
    _refuse_twice(session.session_id for session in sessions)
    strata: dict[str, list[Session]] = defaultdict(list)
    for session in filter(is_splittable, sessions):
        strata[session.labels.get("stratum", "all")].append(session)
    splits: dict[str, Split] = {}
    for stratum in sorted(strata):
        in_order = sorted(strata[stratum], key=_in_time)
        starts = _cuts(len(in_order), shares)
        for split, start, stop in zip(SPLITS, starts, [*starts[1:], len(in_order)], strict=True):
            splits.update({session.session_id: split for session in in_order[start:stop]})
    _refuse_empty(splits)
    return splits


def check_splits(splits: Mapping[str, Split], sessions: Sequence[Session]) -> None:
    """Raise unless the splits fit the sessions and nothing is on two sides.

    Raises:
        SplitError: an id occurs twice; one and the same log stands under two ids on different sides; a split names a
            session that is not there; a splittable session has no side; a side is empty.
    """
    _refuse_twice(session.session_id for session in sessions)
    known = {session.session_id for session in sessions}
    unknown = sorted(set(splits) - known)
    if unknown:
        raise SplitError(
            f"{len(unknown)} sessions in the splits are not in the traces, e.g. {unknown[:3]}; split again"
        )
    missing = [s.session_id for s in sessions if is_splittable(s) and s.session_id not in splits]
    if missing:
        raise SplitError(f"{len(missing)} sessions have no side, e.g. {missing[:3]}; split again")
    same = _same_logs([session for session in sessions if session.session_id in splits])
    torn = [(a.session_id, b.session_id) for a, b in same if splits[a.session_id] != splits[b.session_id]]
    if torn:
        raise SplitError(
            f"{len(torn)} pairs of sessions hold one and the same log on two sides, e.g. {torn[0]}; import it once"
        )
    _refuse_empty(splits)


def split_digests(splits: Mapping[str, Split]) -> dict[str, str]:
    """For each split the sha256 of its sorted session ids joined by newlines, in hex."""
    return {
        split: hashlib.sha256("\n".join(sorted(i for i, s in splits.items() if s == split)).encode()).hexdigest()
        for split in SPLITS
    }


def write_splits(splits: Mapping[str, Split], path: Path) -> None:
    """Write splits as Parquet with columns session_id, split, sorted by id; whole or not at all."""
    rows = sorted(splits.items())
    table = pa.table(
        {
            "session_id": pa.array([session_id for session_id, _ in rows], pa.string()),
            "split": pa.array([split for _, split in rows], pa.string()),
        }
    )
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_splits(path: Path) -> dict[str, Split]:
    """Read what `write_splits` wrote.

    Raises:
        CorruptTraceFile: the file is missing, truncated, has other columns or an unknown split.
        SplitError: a session id stands in it twice.
    """
    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as err:
        raise CorruptTraceFile(path, 0, f"not a whole Parquet file ({err}); split again") from err
    if table.schema.names != ["session_id", "split"]:
        raise CorruptTraceFile(path, 0, f"got columns {table.schema.names}, expected session_id and split")
    ids, names = table.column("session_id").to_pylist(), table.column("split").to_pylist()
    _refuse_twice(ids)
    splits: dict[str, Split] = {}
    for row, (session_id, name) in enumerate(zip(ids, names, strict=True), start=1):
        if name not in SPLITS:
            raise CorruptTraceFile(path, row, f"row {row}: got split {name!r}, expected one of {list(SPLITS)}")
        splits[session_id] = name
    return splits


def _same_logs(sessions: Sequence[Session]) -> Iterator[tuple[Session, Session]]:
    """Pairs of sessions with equal events, each with the first of its kind; empty logs do not count."""
    alike: dict[tuple[str, datetime, datetime, int], list[Session]] = defaultdict(list)
    for session in sessions:
        if session.events:
            key = (session.operator_id, session.events[0].at, session.events[-1].at, len(session.events))
            first = next((other for other in alike[key] if other.events == session.events), None)
            if first is None:
                alike[key].append(session)
            else:
                yield first, session


def _in_time(session: Session) -> tuple[datetime, str]:
    return session.events[0].at, session.session_id


def _cuts(n: int, shares: SplitShares) -> list[int]:
    # 1e-9: 0.6 + 0.175 + 0.075 is 0.85 but for the last bit of a float, and n times it must not floor to one less.
    cumulated = (0.0, shares.train, shares.train + shares.fit, shares.train + shares.fit + shares.calibrate)
    return [math.floor(n * share + 1e-9) for share in cumulated]


def _refuse_twice(ids: Iterable[str]) -> None:
    seen: set[str] = set()
    twice: set[str] = set()
    for session_id in ids:
        (twice if session_id in seen else seen).add(session_id)
    if twice:
        raise SplitError(f"{len(twice)} session ids occur twice, e.g. {sorted(twice)[:3]}; ids must be unique")


def _refuse_empty(splits: Mapping[str, Split]) -> None:
    empty = [split for split in SPLITS if split not in splits.values()]
    if empty:
        raise SplitError(f"{len(splits)} sessions leave {empty} empty; give more complete sessions or other shares")
