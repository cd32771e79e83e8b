from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.intervals import binomial_interval, share_interval, statistic_interval
from selective_autonomy.evaluation.metrics import brier


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (50, 1000)])
def test_the_exact_interval_is_that_of_scipy(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(0.95, "exact")
    got = binomial_interval(k, n)
    assert (got.value, got.n) == (k / n, n)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high))


def test_no_units_leave_the_whole_interval_open() -> None:
    got = binomial_interval(0, 0)
    assert math.isnan(got.value)
    assert (got.low, got.high, got.n) == (0, 1, 0)


def test_more_hits_than_units_are_refused() -> None:
    with pytest.raises(SplitError):
        binomial_interval(3, 2)


def test_the_session_interval_covers_the_truth_in_about_95_percent_of_draws_of_clustered_steps() -> None:
    rng = np.random.default_rng(5)
    covered = plain = 0
    for seed in range(300):
        skill = rng.beta(2, 3, 60)
        session = np.repeat(np.arange(60), 8)
        part = rng.random(480) < skill[session]
        got = share_interval(part, [str(s) for s in session], seed=seed)
        covered += got.low <= 0.4 <= got.high
        naive = binomial_interval(int(part.sum()), 480)
        plain += naive.low <= 0.4 <= naive.high
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300) <= covered / 300
    assert plain < covered


def test_the_same_seed_gives_the_same_interval() -> None:
    part, session = np.arange(100) % 3 == 0, [str(i // 5) for i in range(100)]
    assert share_interval(part, session, seed=1) == share_interval(part, session, seed=1)


def test_a_share_of_a_part_counts_only_that_part() -> None:
    of = np.arange(100) % 2 == 0
    got = share_interval(of & (np.arange(100) % 4 == 0), [str(i // 10) for i in range(100)], of_N=of, seed=0)
    assert (got.value, got.n) == (0.5, 50)


def test_a_share_of_nothing_is_unknown() -> None:
    got = share_interval([0, 0], ["a", "b"], of_N=[0, 0], seed=0)
    assert math.isnan(got.value)
    assert (got.low, got.high) == (0, 1)


@pytest.mark.parametrize(("part", "value"), [(0, 0.0), (1, 1.0)])
def test_a_share_on_which_all_sessions_agree_still_has_an_interval(part: int, value: float) -> None:
    got = share_interval([part] * 40, [str(i // 4) for i in range(40)], seed=0)
    assert got.value == value
    assert got.high - got.low == pytest.approx(1 - 0.025 ** (1 / 10))


def test_any_statistic_gets_an_interval_around_its_value() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(400)
    right = rng.random(400) < p
    got = statistic_interval(lambda w: brier(p, right, w), [str(i // 8) for i in range(400)], seed=3)
    assert got.low < got.value == brier(p, right) < got.high
    assert got.n == 400
