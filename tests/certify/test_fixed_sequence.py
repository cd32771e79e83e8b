from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from selective_autonomy.certify.fixed_sequence import (
    passed_both_ways,
    passed_in_order,
    quantile_cuts,
    surest_cut,
)


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1)), st.integers(1, 30))
def test_cuts_fall_strictly_occur_as_scores_and_end_with_everything(scores: np.ndarray, count: int) -> None:
    cuts = quantile_cuts(scores, count)
    assert 1 <= cuts.size <= count
    assert np.all(np.diff(cuts) < 0)
    assert set(cuts) <= set(scores)
    assert cuts[-1] == scores.min()


def test_twenty_cuts_of_distinct_scores_execute_a_twentieth_more_each() -> None:
    scores = np.random.default_rng(0).permutation(1000) / 1000
    executed = [(scores >= cut).sum() for cut in quantile_cuts(scores, 20)]
    assert executed == list(range(50, 1001, 50))


def test_ties_everywhere_leave_one_cut() -> None:
    assert quantile_cuts(np.full(50, 0.7), 20).tolist() == [0.7]


def test_no_scores_give_no_cuts() -> None:
    assert quantile_cuts(np.empty(0), 20).size == 0


def test_a_pass_after_the_first_failure_counts_for_nothing() -> None:
    assert passed_in_order(np.array([0.9, 0.05, 0.08, 0.2, 0.05]), 1, 0.1) == [1, 2]


def test_a_failure_at_the_start_passes_nothing() -> None:
    assert passed_in_order(np.array([0.05, 0.2, 0.05]), 1, 0.1) == []


def test_both_ways_the_strictest_come_first_and_each_side_ends_at_its_first_failure() -> None:
    upper = np.array([0.05, 0.2, 0.05, 0.08, 0.09, 0.3, 0.01])
    assert passed_both_ways(upper, 3, 0.1) == [2, 3, 4]
    assert passed_both_ways(upper, 0, 0.1) == [0]
    assert passed_both_ways(upper, 1, 0.1) == []
    assert passed_both_ways(upper, None, 0.1) == []


def test_without_a_start_nothing_is_tested() -> None:
    assert passed_in_order(np.array([0.05]), None, 0.1) == []


def test_the_sequence_starts_at_the_cut_that_is_likeliest_to_pass() -> None:
    assert surest_cut(np.array([0.3, 0.08, 0.12])) == 1
    assert surest_cut(np.array([0.3, 0.08, 0.08])) == 2
    assert surest_cut(np.array([1.0, 1.0])) is None
    assert surest_cut(np.empty(0)) is None
