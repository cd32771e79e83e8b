from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selective_autonomy.certify.betting import (
    BETTORS,
    BOLD_SHARES,
    EVEN_SHARES,
    Bettors,
    halving_stakes,
    log_total,
)


@pytest.mark.parametrize("shares", [EVEN_SHARES, BOLD_SHARES])
def test_shares_sum_to_one_and_begin_with_a_capital_of_one(shares: tuple[float, ...]) -> None:
    assert sum(shares) == pytest.approx(1)
    assert log_total(np.zeros(BETTORS), shares) == pytest.approx(0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 20), max_size=80), st.sampled_from([EVEN_SHARES, BOLD_SHARES]))
def test_one_bet_after_another_is_the_same_as_all_at_once(gains: list[float], shares: tuple[float, ...]) -> None:
    stakes = halving_stakes(0.95)
    bettors = Bettors(stakes, shares)
    for gain in gains:
        bettors.bet(gain)
    assert all(map(math.isfinite, bettors.log_capitals))
    factors = np.log1p(np.outer(gains, stakes)).reshape(-1, BETTORS)
    assert bettors.log_capitals == pytest.approx(factors.sum(axis=0))
    totals = log_total(np.cumsum(factors, axis=0), shares)
    assert bettors.highest == pytest.approx(max(0.0, totals.max(initial=0.0)))


def test_a_long_run_of_luck_overflows_nothing() -> None:
    bettors = Bettors(halving_stakes(0.9))
    for _ in range(5000):
        bettors.bet(10.0)
    assert math.isfinite(bettors.highest)
    assert bettors.highest > 5000
