from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, precision_recall_fscore_support, roc_auc_score

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.metrics import (
    augrc,
    aurc,
    auroc,
    brier,
    ece,
    gate_f1,
    gate_precision,
    gate_recall,
    risk_coverage,
)

STEPS = st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.50001, 0.9]), st.booleans()), min_size=2, max_size=40)


@given(STEPS)
def test_auroc_is_that_of_scikit_learn_ties_included(steps: list[tuple[float, bool]]) -> None:
    scores, right = map(np.array, zip(*steps, strict=True))
    if right.all() or not right.any():
        assert np.isnan(auroc(scores, right))
    else:
        assert auroc(scores, right) == pytest.approx(roc_auc_score(right, scores))


@given(STEPS, st.integers(0, 1000))
def test_no_figure_depends_on_the_order_of_the_rows(steps: list[tuple[float, bool]], seed: int) -> None:
    scores, right = map(np.array, zip(*steps, strict=True))
    order = np.random.default_rng(seed).permutation(scores.size)
    for measure in (auroc, aurc, augrc, ece, brier):
        assert measure(scores, right) == pytest.approx(measure(scores[order], right[order]), nan_ok=True)


@given(STEPS, st.data())
def test_a_weight_of_two_is_the_same_as_two_rows(steps: list[tuple[float, bool]], data: st.DataObject) -> None:
    scores, right = map(np.array, zip(*steps, strict=True))
    weight = np.array(data.draw(st.lists(st.integers(1, 3), min_size=scores.size, max_size=scores.size)))
    for measure in (auroc, ece, brier):
        repeated = measure(np.repeat(scores, weight), np.repeat(right, weight))
        assert measure(scores, right, weight) == pytest.approx(repeated, nan_ok=True)


def test_a_perfect_ranking_has_the_areas_known_in_closed_form() -> None:
    n, error = 30_000, 0.333
    right = np.arange(n) >= error * n
    scores = np.arange(n) / n
    assert auroc(scores, right) == 1
    assert aurc(scores, right) == pytest.approx(error + (1 - error) * np.log(1 - error), abs=1e-3)
    assert augrc(scores, right) == pytest.approx(error**2 / 2, abs=1e-3)


def test_ties_everywhere_have_the_mean_risk_at_every_coverage() -> None:
    coverage, errors = risk_coverage(np.full(10, 0.5), np.arange(10) < 7)
    np.testing.assert_allclose(errors / coverage, 0.3)


def test_risk_and_coverage_of_three_steps() -> None:
    coverage, errors = risk_coverage([0.9, 0.8, 0.1], [True, False, True])
    np.testing.assert_allclose(coverage, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(errors, [0, 1 / 3, 1 / 3])


def test_ece_is_the_gap_between_promise_and_truth() -> None:
    assert ece(np.full(100, 0.9), np.arange(100) < 60) == pytest.approx(0.3)
    assert ece([0.0, 1.0], [False, True]) == 0


def test_brier_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    p, right = rng.random(200), rng.random(200) < 0.5
    assert brier(p, right) == pytest.approx(brier_score_loss(right, p))


@given(STEPS, st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]), st.data())
def test_the_gates_figures_are_the_macro_averages_of_scikit_learn(
    steps: list[tuple[float, bool]], threshold: float, data: st.DataObject
) -> None:
    scores, right = map(np.array, zip(*steps, strict=True))
    weight = np.array(data.draw(st.lists(st.integers(1, 3), min_size=scores.size, max_size=scores.size)))
    got = [m(scores, right, weight, threshold=threshold) for m in (gate_precision, gate_recall, gate_f1)]
    if right.all() or not right.any():
        assert np.isnan(got).all()
    else:
        expected = precision_recall_fscore_support(
            right, scores >= threshold, average="macro", sample_weight=weight, zero_division=0
        )
        assert got == pytest.approx(expected[:3])


def test_the_f1_of_the_gate_is_not_the_harmonic_mean_of_its_precision_and_recall() -> None:
    # Precision 70.84, recall 73.43, F1 70.96: of one class F1 would be 72.11. A macro average may lie below.
    assert 2 * 70.84 * 73.43 / (70.84 + 73.43) > 70.96 + 1
    scores, right = [0.9] * 8 + [0.1] * 2, [True] * 6 + [False] * 2 + [True, False]
    precision, recall, f1 = (m(scores, right, threshold=0.5) for m in (gate_precision, gate_recall, gate_f1))
    assert f1 != pytest.approx(2 * precision * recall / (precision + recall), abs=1e-6)


@pytest.mark.parametrize(("scores", "right"), [([], []), ([0.5], [True, False]), ([np.nan], [True])])
def test_what_cannot_be_measured_is_refused(scores: list[float], right: list[bool]) -> None:
    for measure in (auroc, aurc, augrc, ece, brier):
        with pytest.raises(SplitError):
            measure(scores, right)
