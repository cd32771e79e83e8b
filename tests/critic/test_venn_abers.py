from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from selective_autonomy.critic.venn_abers import merged, venn_abers

ROWS = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=1, max_size=30)


def _refitted(raw: np.ndarray, accepted: np.ndarray, score: float, label: float) -> float:
    model = IsotonicRegression(y_min=0.0, y_max=1.0).fit(
        np.append(raw, score), np.append(accepted.astype(float), label)
    )
    return float(model.predict([score])[0])


@given(ROWS)
def test_both_probabilities_are_those_of_an_isotonic_fit_with_the_row_added(rows: list[tuple[int, bool]]) -> None:
    raw, accepted = np.array([r for r, _ in rows], dtype=float), np.array([a for _, a in rows])
    score, p0, p1 = venn_abers(raw, accepted)
    for k, s in enumerate(score):
        assert p0[k] == pytest.approx(_refitted(raw, accepted, s, 0.0))
        assert p1[k] == pytest.approx(_refitted(raw, accepted, s, 1.0))


@given(ROWS)
def test_both_rise_with_the_score_and_the_merged_one_lies_between_them(rows: list[tuple[int, bool]]) -> None:
    raw, accepted = np.array([r for r, _ in rows], dtype=float), np.array([a for _, a in rows])
    _, p0, p1 = venn_abers(raw, accepted)
    p = merged(p0, p1)
    assert np.all(p0 < p1)
    assert np.all((p >= p0 - 1e-12) & (p <= p1 + 1e-12))
    for rising in (p0, p1, p):
        assert np.all(np.diff(rising) >= -1e-12)


def test_ten_equal_labels_do_not_show_certainty() -> None:
    _, p0, p1 = venn_abers(np.arange(10.0), np.ones(10, dtype=bool))
    assert merged(p0, p1).max() < 1


def test_the_two_probabilities_close_in_on_the_truth_as_rows_come_in() -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(-2, 2, 4000)
    accepted = rng.random(4000) < 1 / (1 + np.exp(-raw))
    score, p0, p1 = venn_abers(raw, accepted)
    inside = np.abs(score) < 1.5
    assert np.abs(merged(p0, p1) - 1 / (1 + np.exp(-score)))[inside].mean() < 0.03
    assert (p1 - p0)[inside].mean() < 0.02
