from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selective_autonomy.critic.calibration import Calibrator, fit_calibrator
from selective_autonomy.errors import ModelError
from selective_autonomy.params import CalibrationParams

MAPS = CalibrationParams().maps


def drawn(p_of_raw: object, n: int = 6000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=n) * 2
    return raw, rng.random(n) < p_of_raw(raw), rng.integers(0, 5, n)  # type: ignore[operator]


def test_a_logistic_truth_is_found_by_platt() -> None:
    raw, accepted, fold = drawn(lambda x: 1 / (1 + np.exp(-(0.5 * x - 1))))
    chosen = fit_calibrator(raw, accepted, fold, MAPS)
    assert chosen.calibrator.kind == "platt"
    assert chosen.log_loss["platt"] == min(chosen.log_loss.values())
    assert chosen.calibrator(np.array([0.0]))[0] == pytest.approx(1 / (1 + np.e), abs=0.03)


def test_a_truth_of_two_levels_is_not_left_to_platt() -> None:
    raw, accepted, fold = drawn(lambda x: np.where(x > 0.5, 0.9, 0.2))
    chosen = fit_calibrator(raw, accepted, fold, MAPS)
    assert chosen.calibrator.kind in ("isotonic", "venn_abers")
    assert max(chosen.log_loss["isotonic"], chosen.log_loss["venn_abers"]) < chosen.log_loss["platt"]
    np.testing.assert_allclose(chosen.calibrator(np.array([-1.0, 2.0])), [0.2, 0.9], atol=0.04)


def test_plateaus_keep_the_order_of_the_raw_score() -> None:
    raw, accepted, fold = drawn(lambda x: np.where(x > 0, 0.9, 0.1))
    p = fit_calibrator(raw, accepted, fold, MAPS).calibrator(np.sort(raw))
    assert np.all(np.diff(p) > 0)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=30), st.floats(1e-3, 5), st.floats(-5, 5))
def test_probabilities_stay_strictly_between_zero_and_one(raw: list[float], slope: float, intercept: float) -> None:
    for calibrator in (
        Calibrator("platt", (slope,), (intercept,)),
        Calibrator("isotonic", (-1.0, 1.0), (0.0, 1.0)),
        Calibrator("venn_abers", (-1.0, 1.0), (0.3, 0.3)),
    ):
        p = calibrator(np.array(sorted(raw)))
        assert np.all((p > 0) & (p < 1))
        assert np.all(np.diff(p) >= 0)


def test_a_ranking_without_signal_is_not_turned_round() -> None:
    rng = np.random.default_rng(3)
    raw = rng.normal(size=500)
    accepted = rng.random(500) < 1 / (1 + np.exp(raw))
    p = fit_calibrator(raw, accepted, np.arange(500) % 5, MAPS).calibrator(np.array([-2.0, 2.0]))
    assert p[0] < p[1]


def test_the_probabilities_of_the_choice_come_from_maps_that_had_not_seen_their_rows() -> None:
    raw, accepted, fold = drawn(lambda x: 1 / (1 + np.exp(-(0.5 * x - 1))))
    chosen = fit_calibrator(raw, accepted, fold, MAPS)
    first = fold == 0
    without = fit_calibrator(raw[~first], accepted[~first], fold[~first], MAPS)
    assert without.calibrator.kind == chosen.calibrator.kind
    np.testing.assert_allclose(chosen.p_N[first], without.calibrator(raw[first]))


def test_a_calibrator_survives_json() -> None:
    calibrator = Calibrator("venn_abers", (-1.0, 0.1), (0.2, 0.7))
    assert Calibrator.of_json(json.loads(json.dumps(calibrator.as_json())), what="it") == calibrator


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "magic", "x": [1], "y": [1]},
        {"kind": "platt", "x": [1], "y": []},
        {"kind": "platt", "x": ["a"], "y": [0]},
    ],
)
def test_what_is_no_calibrator_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=r"c\.json is no calibrator"):
        Calibrator.of_json(data, what="c.json")
