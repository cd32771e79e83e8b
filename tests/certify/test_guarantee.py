"""The promises themselves: repeated seeded draws break them in at most delta, and something is certified."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from selective_autonomy.certify.certificate import Certificate
from selective_autonomy.certify.certify import certify
from selective_autonomy.params import CertificateParams

DELTA = 0.1
DRAWS = 300
SLACK = 2 * np.sqrt(DELTA * (1 - DELTA) / DRAWS)
Draw = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]


def scored_sessions(rng: np.random.Generator, sessions: int, spread: float, signal: float = 2.0) -> Draw:
    """Steps whose error depends on the score and, by `spread` (log-odds), on their session."""
    session_N = np.repeat(np.arange(sessions), rng.integers(2, 14, sessions))
    skill_N = rng.normal(size=sessions)[session_N] * spread
    x_N = rng.normal(size=session_N.size)
    p_N = 1 / (1 + np.exp(-(1.5 + signal * x_N + skill_N)))
    return 1 / (1 + np.exp(-(1.5 + signal * x_N))), rng.random(session_N.size) > p_N, session_N


def certified(draw: Draw, **kwargs: object) -> Certificate:
    scores, wrong, session = draw
    params = CertificateParams(alpha=0.1, alpha_session=kwargs.pop("alpha_session", None), delta=DELTA, cuts=20)  # type: ignore[arg-type]
    return certify(
        scores,
        wrong,
        [str(s) for s in session],
        params,
        process_id="p",
        loss="l",
        splits={},
        policy_digest="a",
        critic_digest="b",
        **kwargs,  # type: ignore[arg-type]
    )


def tried(
    spread: float, sessions: int, measure: Callable[[Draw, float], float], **kwargs: object
) -> tuple[float, float]:
    """Share of draws whose threshold breaks `measure` <= 0.1 on a large population, and the mean coverage."""
    population = scored_sessions(np.random.default_rng(99), 8_000, spread)
    rng = np.random.default_rng(7)
    broken, coverage = 0, 0.0
    for _ in range(DRAWS):
        threshold = certified(scored_sessions(rng, sessions, spread), **kwargs).threshold
        if threshold is not None:
            broken += measure(population, threshold) > 0.1
            coverage += float((population[0] >= threshold).mean())
    return broken / DRAWS, coverage / DRAWS


def step_risk(population: Draw, threshold: float) -> float:
    scores, wrong, _ = population
    return float(wrong[scores >= threshold].mean())


def worse_risk(population: Draw, threshold: float) -> float:
    """The larger of the step risk and the session risk."""
    scores, wrong, session = population
    lost = np.unique(session[(scores >= threshold) & wrong]).size / 8_000
    return max(step_risk(population, threshold), lost)


@pytest.mark.parametrize("spread", [0.0, 1.0], ids=["independent", "clustered"])
def test_the_step_promise_is_broken_in_at_most_delta_of_draws(spread: float) -> None:
    broken, coverage = tried(spread, 80, step_risk)
    assert broken <= DELTA + SLACK
    assert coverage > 0.3


def test_the_step_promise_by_betting_is_broken_in_at_most_delta_of_draws_of_clustered_sessions() -> None:
    broken, coverage = tried(1.0, 250, step_risk, step_test="betting")
    assert broken <= DELTA + SLACK
    assert coverage > 0.3


@pytest.mark.parametrize("spread", [0.0, 2.0], ids=["independent", "clustered"])
def test_promises_about_steps_and_sessions_together_are_broken_in_at_most_delta_of_draws(spread: float) -> None:
    broken, coverage = tried(spread, 200, worse_risk, alpha_session=0.1)
    assert broken <= DELTA + SLACK
    assert coverage > 0.05


def test_the_certificate_is_not_so_cautious_that_alpha_is_never_approached() -> None:
    population = scored_sessions(np.random.default_rng(99), 20_000, 0.0)
    rng = np.random.default_rng(8)
    thresholds = [certified(scored_sessions(rng, 400, 0.0)).threshold for _ in range(30)]
    risks = [step_risk(population, t) for t in thresholds if t is not None]
    assert len(risks) >= 28
    assert np.mean(risks) > 0.07
