from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selective_autonomy.certify.binomial import upper_limit
from selective_autonomy.certify.dependence import betting_upper, deflated_upper, design_effect, intraclass_correlation


def test_sessions_that_are_all_right_or_all_wrong_correlate_fully() -> None:
    session = np.repeat(np.arange(40), 5)
    assert intraclass_correlation(session % 2 == 0, session) == pytest.approx(1)


def test_independent_steps_correlate_by_about_nothing() -> None:
    rng = np.random.default_rng(0)
    assert intraclass_correlation(rng.random(20_000) < 0.2, np.repeat(np.arange(2000), 10)) < 0.02


@pytest.mark.parametrize(
    ("wrong", "session"),
    [([True, False], [0, 0]), ([True, False], [0, 1]), ([False] * 4, [0, 0, 1, 1]), ([True] * 4, [0, 0, 1, 1])],
)
def test_correlation_is_zero_where_it_is_not_defined(wrong: list[bool], session: list[int]) -> None:
    assert intraclass_correlation(np.array(wrong), np.array(session)) == 0


def test_wholly_dependent_sessions_count_as_one_unit_each() -> None:
    executed, wrong = np.full(60, 5.0), np.where(np.arange(60) < 6, 5.0, 0.0)
    assert design_effect(executed, wrong, 0.0) == pytest.approx(5 * 60 / 59)
    assert deflated_upper(executed, wrong, 0.0, 0.05) >= upper_limit(6, 60, 0.05)


def test_one_session_is_one_unit_however_long() -> None:
    assert deflated_upper(np.array([500.0]), np.array([0.0]), 0.0, 0.05) == pytest.approx(0.95)


def test_nothing_executed_has_the_limit_one() -> None:
    zeros = np.zeros(5)
    assert deflated_upper(zeros, zeros, 0.2, 0.05) == 1
    assert betting_upper(zeros, zeros, 0.1, 0.05) == 1


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), correlation=st.floats(0, 1))
def test_deflating_never_promises_more_than_independent_steps_would(seed: int, correlation: float) -> None:
    rng = np.random.default_rng(seed)
    executed = rng.integers(0, 12, rng.integers(1, 50)).astype(float)
    wrong = rng.binomial(executed.astype(int), rng.random()).astype(float)
    plain = float(upper_limit(wrong.sum(), executed.sum(), 0.05))
    assert deflated_upper(executed, wrong, correlation, 0.05) >= min(plain, 1) - 1e-9


def test_betting_certifies_many_good_sessions_and_reports_a_limit_between_share_and_alpha() -> None:
    rng = np.random.default_rng(2)
    executed = rng.integers(1, 10, 400).astype(float)
    wrong = rng.binomial(executed.astype(int), 0.04).astype(float)
    assert wrong.sum() / executed.sum() < betting_upper(executed, wrong, 0.1, 0.05) <= 0.1


def test_betting_certifies_nothing_from_a_few_sessions() -> None:
    assert betting_upper(np.full(10, 8.0), np.zeros(10), 0.1, 0.05) == 1
