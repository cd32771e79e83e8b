from __future__ import annotations

import numpy as np
import pytest

from selective_autonomy.evaluation.corruptions import CORRUPTIONS, Verdicts

N = 20_000


@pytest.fixture(scope="module")
def said() -> Verdicts:
    rng = np.random.default_rng(0)
    wrong = rng.random(N) < 0.2
    return Verdicts(
        rejected_N=wrong ^ (rng.random(N) < 0.02),
        wrong_N=wrong,
        operator_N=rng.integers(9, size=N),
        shift_N=rng.random(N),
        kind_N=(rng.random(N) < 0.7).astype(np.int64),
    )


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_without_a_rate_nothing_changes_and_the_same_seed_changes_the_same(name: str, said: Verdicts) -> None:
    corrupt = CORRUPTIONS[name][0]
    assert (corrupt(said, 0.0, np.random.default_rng(1)) == said.rejected_N).all()
    once, again = (corrupt(said, 0.5, np.random.default_rng(1)) for _ in range(2))
    assert (once == again).all()
    assert (once != said.rejected_N).any()


def test_each_corrupts_what_it_says(said: Verdicts) -> None:
    def turned(name: str, rate: float) -> np.ndarray:
        return CORRUPTIONS[name][0](said, rate, np.random.default_rng(2)) != said.rejected_N

    assert turned("random_flips", 0.3).mean() == pytest.approx(0.3, abs=0.02)
    assert not turned("rubber_stamps", 0.5)[~said.rejected_N].any()
    assert turned("rubber_stamps", 0.5)[said.rejected_N].mean() == pytest.approx(0.5, abs=0.03)
    assert not turned("over_rejecting", 0.2)[said.rejected_N].any()
    assert np.unique(said.operator_N[turned("one_biased_operator", 1.0)]).size == 1
    biased = turned("biased_majority", 0.9)
    assert np.unique(said.operator_N[biased]).size == 6
    assert (said.wrong_N & (said.kind_N == 1))[biased].all()
    assert said.shift_N[turned("end_of_shift", 1.0)].min() > 2 / 3
