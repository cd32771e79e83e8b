from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from selective_autonomy.evaluation.figures import (
    loss_curve_png,
    reliability_png,
    risk_coverage_png,
    trade_off_png,
)
from selective_autonomy.evaluation.intervals import binomial_interval

RNG = np.random.default_rng(0)
P = RNG.random(500)
RIGHT = RNG.random(500) < P


@pytest.mark.parametrize(
    "png",
    [
        lambda: risk_coverage_png({"critic": (P, RIGHT), "policy": (P**2, RIGHT)}, alpha=0.1, coverage=0.3),
        lambda: reliability_png(P, RIGHT),
        lambda: loss_curve_png([3.0, 2.0, 1.5]),
        lambda: loss_curve_png([3.0, 2.0, 1.5, 3.1, 2.1, 1.4], members=2),
        lambda: trade_off_png(
            {name: (binomial_interval(k, 50), binomial_interval(50 - k, 50)) for name, k in (("a", 20), ("b", 50))},
            x="here",
            y="there",
            title="both",
        ),
    ],
    ids=["risk and coverage", "reliability", "loss", "loss of members", "trade-off"],
)
def test_a_figure_is_a_picture_of_some_size_with_ink_on_it(png: object) -> None:
    picture = imread(io.BytesIO(png()), format="png")  # type: ignore[operator]
    height, width = picture.shape[:2]
    assert width > 700
    assert height > 500
    assert 0.01 < (picture[..., :3].min(axis=2) < 0.9).mean() < 0.5


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert reliability_png(P, RIGHT) == reliability_png(P, RIGHT)
