from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from selective_autonomy.certify.binomial import fewest_labels, most_wrong_allowed, upper_limit
from selective_autonomy.errors import CertificateError

SHARES = st.floats(0.01, 0.99)


def test_no_labels_say_nothing() -> None:
    assert upper_limit(0, 0, 0.05) == 1.0


def test_all_wrong_has_the_limit_one() -> None:
    assert upper_limit(7, 7, 0.05) == 1.0


def test_no_error_among_59_has_a_limit_just_under_five_percent() -> None:
    assert upper_limit(0, 59, 0.05) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert upper_limit(0, 59, 0.05) < 0.05 < upper_limit(0, 58, 0.05)


@given(n=st.integers(1, 400), delta=st.floats(0.001, 0.4), k=st.integers(0, 400))
def test_the_limit_is_where_so_few_errors_become_improbable(n: int, delta: float, k: int) -> None:
    k = min(k, n - 1)
    limit = float(upper_limit(k, n, delta))
    assert k / n < limit <= 1
    assert binom.cdf(k, n, limit) == pytest.approx(delta, abs=1e-6)


@given(n=st.integers(0, 2000), alpha=SHARES, delta=SHARES)
def test_the_allowance_is_the_largest_count_whose_limit_is_at_most_alpha(n: int, alpha: float, delta: float) -> None:
    allowed = most_wrong_allowed(n, alpha, delta)
    assert -1 <= allowed < max(n, 1)
    if allowed >= 0:
        assert upper_limit(allowed, n, delta) <= alpha + 1e-9
    if allowed < n:
        assert upper_limit(allowed + 1, n, delta) > alpha - 1e-9


@given(rate=st.floats(0, 0.3), alpha=st.floats(0.02, 0.5), delta=st.floats(0.01, 0.3))
def test_the_labels_needed_suffice_and_one_percent_fewer_do_not(rate: float, alpha: float, delta: float) -> None:
    n = fewest_labels(rate, alpha, delta)
    if n is None:
        assert rate >= alpha or alpha - rate < 0.01
        return
    assert upper_limit(rate * n, n, delta) <= alpha + 1e-9
    fewer = n - max(1, n // 100)
    assert fewer <= 0 or upper_limit(rate * fewer, fewer, delta) > alpha - 1e-9


def test_an_error_share_of_alpha_can_never_be_certified() -> None:
    assert fewest_labels(0.1, 0.1, 0.05) is None


@pytest.mark.parametrize(
    ("k", "n", "delta"), [(3, 2, 0.05), (-1, 2, 0.05), (np.nan, 2, 0.05), (0, 2, 0.0), (0, 2, 1.0)]
)
def test_impossible_counts_and_levels_are_refused(k: float, n: int, delta: float) -> None:
    with pytest.raises(CertificateError):
        upper_limit(k, n, delta)


def test_the_limit_breaks_its_promise_in_at_most_delta_of_draws() -> None:
    rng = np.random.default_rng(1)
    for n, rate in ((20, 0.1), (200, 0.05), (1000, 0.3)):
        misses = (upper_limit(rng.binomial(n, rate, 4000), n, 0.1) < rate).mean()
        assert misses <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 4000)
