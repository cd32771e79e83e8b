from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bike_shop import session
from hypothesis import given, settings
from hypothesis import strategies as st

from selective_autonomy.errors import CorruptTraceFile, SplitError
from selective_autonomy.params import SplitShares
from selective_autonomy.traces.splits import (
    SPLITS,
    assign_splits,
    check_splits,
    is_splittable,
    read_splits,
    split_digests,
    write_splits,
)

SHARES = SplitShares(train=0.6, fit=0.175, calibrate=0.075, test=0.15)
FORTY = [session(n) for n in range(40)]


@st.composite
def _traces(draw: st.DrawFn) -> list[object]:
    count = draw(st.integers(40, 90))
    return [
        session(
            n,
            stratum=draw(st.sampled_from(["all", "all", "rare"])),
            status=draw(st.sampled_from(["complete", "complete", "complete", "abandoned", "open"])),
            minutes=draw(st.integers(0, 50)),
            worked=draw(st.booleans() if n % 5 == 0 else st.just(True)),
        )
        for n in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(traces=_traces())
def test_every_finished_session_is_on_exactly_one_side_and_time_only_moves_forward(traces: list) -> None:
    if sum(is_splittable(s) for s in traces) < 20:
        return  # so few that a side may stay empty: a case of its own below
    splits = assign_splits(traces, SHARES)
    check_splits(splits, traces)
    assert set(splits) == {s.session_id for s in traces if is_splittable(s)}
    for stratum in ("all", "rare"):
        members = [s for s in traces if s.session_id in splits and s.labels["stratum"] == stratum]
        order = [
            SPLITS.index(splits[s.session_id]) for s in sorted(members, key=lambda s: (s.started_at, s.session_id))
        ]
        assert order == sorted(order)


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(FORTY))
def test_the_order_in_which_sessions_come_makes_no_difference(order: list) -> None:
    assert assign_splits(order, SHARES) == assign_splits(FORTY, SHARES)


def test_cuts_are_at_the_floor_of_the_cumulated_shares() -> None:
    splits = assign_splits(FORTY, SHARES)
    assert [sum(side == name for side in splits.values()) for name in SPLITS] == [24, 7, 3, 6]
    assert [splits[f"bikes-{n:04d}"] for n in (0, 23, 24, 30, 31, 33, 34, 39)] == [
        "train", "train", "fit", "fit", "calibrate", "calibrate", "test", "test",
    ]  # fmt: skip


def test_unfinished_sessions_and_those_without_a_step_are_on_no_side() -> None:
    extra = [session(100, status="abandoned"), session(101, status="open"), session(102, worked=False)]
    assert assign_splits([*FORTY, *extra], SHARES) == assign_splits(FORTY, SHARES)


def test_too_few_sessions_for_four_sides_are_refused() -> None:
    with pytest.raises(SplitError, match=r"3 sessions leave .*empty"):
        assign_splits(FORTY[:3], SHARES)


def test_a_repeated_session_id_is_refused() -> None:
    with pytest.raises(SplitError, match=r"occur twice, e\.g\. \['bikes-0003'\]"):
        assign_splits([*FORTY, FORTY[3]], SHARES)


def test_one_log_under_two_ids_on_different_sides_is_refused() -> None:
    twin = FORTY[0].model_copy(update={"session_id": "bikes-twin"})
    splits = {**assign_splits(FORTY, SHARES), "bikes-twin": "test"}
    with pytest.raises(SplitError, match=r"the same log on two sides, e\.g\. \('bikes-0000', 'bikes-twin'\)"):
        check_splits(splits, [*FORTY, twin])


def test_one_log_under_two_ids_on_one_side_is_let_pass() -> None:
    twin = FORTY[0].model_copy(update={"session_id": "bikes-twin"})
    check_splits({**assign_splits(FORTY, SHARES), "bikes-twin": "train"}, [*FORTY, twin])


def test_splits_of_other_traces_are_refused() -> None:
    splits = assign_splits(FORTY, SHARES)
    with pytest.raises(SplitError, match="not in the traces"):
        check_splits(splits, FORTY[1:])
    with pytest.raises(SplitError, match="have no side"):
        check_splits(splits, [*FORTY, session(99)])


def test_an_empty_side_is_refused() -> None:
    splits = {name: ("train" if side == "test" else side) for name, side in assign_splits(FORTY, SHARES).items()}
    with pytest.raises(SplitError, match=r"leave \['test'\] empty"):
        check_splits(splits, FORTY)


def test_splits_survive_their_file_and_digests_depend_on_membership_alone(tmp_path: Path) -> None:
    splits = assign_splits(FORTY, SHARES)
    write_splits(splits, tmp_path / "s.parquet")
    back = read_splits(tmp_path / "s.parquet")
    assert back == splits
    assert split_digests(dict(reversed(splits.items()))) == split_digests(back)
    moved = {**splits, "bikes-0000": "test"}
    changed = {name for name in SPLITS if split_digests(moved)[name] != split_digests(splits)[name]}
    assert changed == {"train", "test"}


def test_a_file_with_a_session_on_two_sides_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"session_id": ["a", "b", "a"], "split": ["train", "fit", "test"]}), tmp_path / "s.parquet")
    with pytest.raises(SplitError, match=r"occur twice, e\.g\. \['a'\]"):
        read_splits(tmp_path / "s.parquet")


def test_a_file_with_an_unknown_side_names_the_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"session_id": ["a", "b"], "split": ["train", "dev"]}), tmp_path / "s.parquet")
    with pytest.raises(CorruptTraceFile, match="row 2: got split 'dev'"):
        read_splits(tmp_path / "s.parquet")


def test_a_damaged_split_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "s.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorruptTraceFile, match=r"s\.parquet: not a whole Parquet file"):
        read_splits(tmp_path / "s.parquet")
