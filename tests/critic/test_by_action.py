from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selective_autonomy.critic.by_action import Calibration
from selective_autonomy.errors import ModelError
from selective_autonomy.params import CalibrationParams

ANY = CalibrationParams()  # every kind of map, and maps by action


def drawn(n: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Waits whose score is log-odds, and every fourth row a click, accepted as if its score were `shift` higher."""
    rng = np.random.default_rng(seed)
    raw, clicks = rng.normal(size=n) * 2, np.arange(n) % 4 == 0
    accepted = rng.random(n) < 1 / (1 + np.exp(-(raw + shift * clicks)))
    return raw, np.where(clicks, "click_control", "wait"), accepted, rng.integers(0, 5, n)


def test_an_action_type_that_is_accepted_otherwise_gets_a_map_of_its_own() -> None:
    raw, types, accepted, fold = drawn(2000, shift=-3)
    made = Calibration.fit(raw, types, accepted, fold, ANY)
    assert "click_control" in made.own
    p = made(np.zeros(2), np.array(["wait", "click_control"]))
    assert p[0] == pytest.approx(0.5, abs=0.1)
    assert p[1] == pytest.approx(1 / (1 + np.e**3), abs=0.1)
    assert made.log_loss["chosen"] < min(loss for kind, loss in made.log_loss.items() if kind != "chosen")


def test_only_what_was_asked_for_is_tried() -> None:
    raw, types, accepted, fold = drawn(2000, shift=-3)
    made = Calibration.fit(raw, types, accepted, fold, CalibrationParams(maps=("platt", "isotonic"), by_action=False))
    assert not made.own
    assert set(made.log_loss) == {"platt", "isotonic", "chosen"}
    assert made.log_loss["chosen"] == min(made.log_loss["platt"], made.log_loss["isotonic"])


def test_a_few_rows_do_not_support_a_map_of_their_own() -> None:
    raw, types, accepted, fold = drawn(40, shift=0)
    assert not Calibration.fit(raw, types, accepted, fold, ANY).own


def test_action_types_that_are_accepted_alike_mostly_share_a_map() -> None:
    owns = [len(Calibration.fit(*drawn(800, shift=0, seed=seed), ANY).own) for seed in range(12)]
    assert sum(owns) <= 6  # of 24


def test_within_an_action_type_the_order_of_the_raw_scores_stays() -> None:
    raw, types, accepted, fold = drawn(1500, shift=-3)
    made = Calibration.fit(raw, types, accepted, fold, ANY)
    for action_type in ("wait", "click_control"):
        ordered = np.linspace(-4, 4, 60)
        assert np.all(np.diff(made(ordered, np.full(60, action_type))) > 0)


def test_a_calibration_survives_saving(tmp_path: Path) -> None:
    raw, types, accepted, fold = drawn(1500, shift=-3)
    made = Calibration.fit(raw, types, accepted, fold, ANY)
    made.save(tmp_path)
    again = Calibration.load(tmp_path)
    np.testing.assert_array_equal(again(raw, types), made(raw, types))
    np.testing.assert_array_equal(again.cuts(10), made.cuts(10))
    assert (again.kind, again.log_loss) == (made.kind, made.log_loss)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pooled": 1, "own": {}}', '{"pooled": {}, "own": {}}'])
def test_a_damaged_calibration_is_refused(tmp_path: Path, text: str) -> None:
    Calibration.fit(*drawn(200, shift=0), ANY).save(tmp_path)
    (tmp_path / "calibrator.json").write_text(text)
    with pytest.raises(ModelError):
        Calibration.load(tmp_path)
