from __future__ import annotations

import numpy as np
import pytest

from selective_autonomy.errors import CertificateError
from selective_autonomy.labels.rubber_stamps import FEWEST, Pace, rubber_stamps

OPERATORS = 24


def paces(seed: int, *, stamps: dict[int, float] | None = None, each: int = 150, level: float = 0.01) -> list[Pace]:
    """A crew of different speeds that reads longer proposals longer; `stamps`: operator -> share that is stamped."""
    rng = np.random.default_rng(seed)
    who_N = np.repeat(np.arange(OPERATORS), each)
    length_N = rng.integers(5, 400, who_N.size)
    speed_W = np.exp(rng.normal(0, 0.25, OPERATORS))
    seconds_N = (2 + length_N / 40) * speed_W[who_N] * rng.lognormal(0, 0.7, who_N.size)
    accepted_N = rng.random(who_N.size) < 0.8
    for w, share in (stamps or {}).items():
        stamped = (who_N == w) & (rng.random(who_N.size) < share)
        seconds_N[stamped], accepted_N[stamped] = rng.lognormal(-0.5, 0.4, stamped.sum()), True
    return list(rubber_stamps([f"op-{w:02d}" for w in who_N], accepted_N, seconds_N, length_N, level=level))


def flagged(found: list[Pace]) -> list[int]:
    return [w for w, pace in enumerate(found) if pace.verdict == "flagged"]


def test_those_who_stamp_all_or_most_are_found() -> None:
    for seed in range(10):
        assert flagged(paces(seed, stamps={3: 1.0, 11: 0.7})) == [3, 11]


def test_an_honest_crew_is_flagged_no_more_often_than_stated() -> None:
    assert sum(bool(flagged(paces(seed, level=0.05))) for seed in range(60)) <= 0.05 * 60 + 2 * np.sqrt(
        0.05 * 0.95 * 60
    )


def test_at_the_edge_of_the_allowance_the_whole_crew_is_flagged_no_more_often_than_stated() -> None:
    """Every operator's fast share is the allowance itself: a quarter of accepts at once, the others at leisure."""
    rng, any_flagged, runs = np.random.default_rng(5), 0, 200
    for _ in range(runs):
        who_N = np.repeat([f"op-{w:02d}" for w in range(8)], 120)
        fast_N = rng.random(who_N.size) < 0.25
        seconds_N = np.where(fast_N, 0.5, 10 * rng.uniform(0.9, 1.1, who_N.size))
        got = rubber_stamps(list(who_N), np.ones(who_N.size), seconds_N, np.full(who_N.size, 50), level=0.1)
        any_flagged += any(pace.verdict == "flagged" for pace in got)
    assert 0 < any_flagged / runs <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / runs)


def test_short_proposals_are_no_excuse_and_no_crime() -> None:
    """One operator gets only short proposals and is quick for that reason; the like of them take as long for others."""
    rng = np.random.default_rng(2)
    who_N = np.repeat(np.arange(OPERATORS), 150)
    length_N = np.where((who_N == 0) | (rng.random(who_N.size) < 0.2), 5, 800)
    seconds_N = length_N / 40 * rng.lognormal(0, 0.3, who_N.size)
    got = rubber_stamps([f"op-{w:02d}" for w in who_N], np.ones(who_N.size), seconds_N, length_N)
    assert got[0].seconds < 0.2
    assert flagged(list(got)) == []


def test_too_few_accepts_are_said_to_be_too_few() -> None:
    found = paces(0, each=10, stamps={3: 1.0})
    assert {pace.verdict for pace in found} == {"not_enough_data"}
    assert found[3].note == f"not enough data: 10 of {FEWEST}"


def test_accepts_are_compared_with_own_corrections() -> None:
    found = paces(1, stamps={3: 0.9})
    assert found[3].beside_corrects < 0.4
    assert 0.7 < np.median([pace.beside_corrects for pace in found]) < 1.4


def test_unknown_times_and_a_lone_operator_give_no_verdict() -> None:
    unknown = rubber_stamps(["a", "b"] * 60, [True] * 120, [np.nan] * 120, [10] * 120)
    alone = rubber_stamps(["a"] * 100, [True] * 100, [0.1] * 100, [10] * 100)
    assert [pace.verdict for pace in (*unknown, *alone)] == ["not_enough_data"] * 3
    assert rubber_stamps([], [], [], []) == ()


def test_all_times_equal_flags_nobody() -> None:
    got = rubber_stamps(["a", "b", "c"] * 60, [True] * 180, [1.0] * 180, [10] * 180)
    assert [pace.verdict for pace in got] == ["clear"] * 3


def test_impossible_times_and_levels_are_refused() -> None:
    with pytest.raises(CertificateError, match="no negative time"):
        rubber_stamps(["a"], [True], [-1.0], [10])
    with pytest.raises(CertificateError, match="as many of each"):
        rubber_stamps(["a"], [True, False], [1.0], [10])
    with pytest.raises(CertificateError, match="level"):
        rubber_stamps(["a"], [True], [1.0], [10], level=0.0)
