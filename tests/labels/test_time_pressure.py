from __future__ import annotations

import math

import numpy as np
import pytest

from selective_autonomy.errors import CertificateError
from selective_autonomy.labels.time_pressure import time_pressure


def shifts(
    seed: int, *, hurry: float = 1.0, shifts: int = 30
) -> tuple[list[str], list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Two operators; in the last quarter of a shift of eight hours `b` takes `hurry` of the time and accepts more."""
    rng = np.random.default_rng(seed)
    who, session, at, accepted, seconds = [], [], [], [], []
    for name in "ab":
        for day in range(shifts):
            hour_N = np.sort(rng.uniform(0, 8, 40))
            late_N = (hour_N > 6) & (name == "b") & (hurry < 1)
            who += [name] * 40
            session += [f"{name} {day} {i // 4}" for i in range(40)]
            at += list(86400 * day + 3600 * hour_N)
            accepted += list(rng.random(40) < np.where(late_N, 0.95, 0.8))
            seconds += list(6 * rng.lognormal(0, 0.7, 40) * np.where(late_N, hurry, 1.0))
    return who, session, np.array(at), np.array(accepted), np.array(seconds)


def test_hurry_at_the_end_of_shifts_is_found_where_it_is() -> None:
    crew, each = time_pressure(*shifts(1, hurry=0.5))
    assert each["b"].log_seconds.low < math.log(0.5) < each["b"].log_seconds.high < -0.3
    assert each["b"].accepted.low > 0
    assert each["a"].log_seconds.low < 0 < each["a"].log_seconds.high
    assert crew.shifts == 60
    assert crew.log_seconds.high < 0


def test_the_intervals_leave_out_no_change_as_rarely_as_stated() -> None:
    out = [not one.log_seconds.low <= 0 <= one.log_seconds.high
           for seed in range(100) for one in time_pressure(*shifts(seed, shifts=12))[1].values()]  # fmt: skip
    assert np.mean(out) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / len(out))


def test_few_shifts_are_said_to_be_few() -> None:
    crew, each = time_pressure(*shifts(1, shifts=3))
    assert crew.note == "not enough data: 6 of 10 shifts"
    assert each["a"].note == "not enough data: 3 of 10 shifts"
    assert math.isnan(crew.log_seconds.value)


def test_unknown_times_make_no_shift() -> None:
    who, session, at, accepted, seconds = shifts(1)
    crew, _ = time_pressure(who, session, at, accepted, np.full(seconds.size, np.nan))
    assert crew.shifts == 0
    nobody, each = time_pressure([], [], [], [], [])
    assert (nobody.shifts, each) == (0, {})


def test_a_shift_of_one_long_session_shows_no_hour() -> None:
    """The last steps of a session are others than its first; that they are quick says nothing about haste."""
    who, _, at, accepted, seconds = shifts(1, hurry=0.3)
    alone = [f"{name} {moment // 86400}" for name, moment in zip(who, at, strict=True)]
    crew, _ = time_pressure(who, alone, at, accepted, seconds)
    assert crew.note == "not enough data: 0 of 10 shifts"


def test_order_of_rows_does_not_matter() -> None:
    who, session, at, accepted, seconds = shifts(4)
    order = np.random.default_rng(0).permutation(at.size)
    mixed = time_pressure(
        [who[i] for i in order], [session[i] for i in order], at[order], accepted[order], seconds[order]
    )
    assert mixed[1]["a"].log_seconds.value == pytest.approx(
        time_pressure(who, session, at, accepted, seconds)[1]["a"].log_seconds.value
    )


def test_a_moment_that_is_not_known_is_refused() -> None:
    with pytest.raises(CertificateError, match="finite moments"):
        time_pressure(["a"], ["s"], [np.nan], [True], [1.0])
