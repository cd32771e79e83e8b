"""Selective labels: the bets are fair whatever the audits are, and all that is odd is refused."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq

from selective_autonomy.certify.betting import BOLD_SHARES, log_total
from selective_autonomy.certify.dependence import betting_upper
from selective_autonomy.certify.weights import (
    SelectiveLabels,
    session_log_factors,
    session_stakes,
    step_log_factors,
    step_stakes,
    weighted_upper,
)
from selective_autonomy.errors import CertificateError
from selective_autonomy.evaluation.simulated_critic import SimulatedCritic

DELTA = 0.1
RUNS = 100
SLACK = 2 * math.sqrt(DELTA * (1 - DELTA) / RUNS)
CRITIC = SimulatedCritic()


def one_session(wrong: list[bool], drawn: tuple[bool, ...], propensities: list[float]) -> SelectiveLabels:
    shown = [float(w) if d else math.nan for w, d in zip(wrong, drawn, strict=True)]
    return SelectiveLabels.of(np.full(len(wrong), 0.9), shown, propensities, ["s"] * len(wrong))


def audited(
    seed: int, sessions: int, correlation: float, rate: float, cut: float
) -> tuple[SelectiveLabels, NDArray[np.bool_]]:
    """Sessions that were gated at `cut`, and what executed."""
    rng = np.random.default_rng(seed)
    scores_N, wrong_N, session_N = CRITIC.draw_sessions(sessions, rng, correlation=correlation)
    executed_N = scores_N >= cut
    propensities_N = np.where(executed_N, rate, 1.0)
    shown_N = np.where(rng.random(scores_N.size) < propensities_N, wrong_N, np.nan)
    return SelectiveLabels.of(scores_N, shown_N, propensities_N, [str(s) for s in session_N]), executed_N


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.05, 0.3, 1.0])), min_size=1, max_size=6), st.floats(0.01, 0.5)
)
def test_over_all_ways_the_audits_may_fall_no_bet_is_better_than_the_truth_allows(
    steps: list[tuple[bool, float]], risk: float
) -> None:
    wrong, propensities = [w for w, _ in steps], [p for _, p in steps]
    stakes_B, lost_B = step_stakes(6, min(propensities)), session_stakes(min(propensities))
    step_mean, session_mean = np.zeros(8), np.zeros(8)
    everything = np.ones(len(steps), dtype=bool)
    for drawn in itertools.product([False, True], repeat=len(steps)):
        chance = math.prod(p if d else 1 - p for p, d in zip(propensities, drawn, strict=True))
        if chance == 0:
            continue
        labels = one_session(wrong, drawn, propensities)
        step_factors = np.exp(step_log_factors(labels, everything, risk, stakes_B)[0])
        session_factors = np.exp(session_log_factors(labels, everything, risk, lost_B)[0])
        assert (step_factors > 0).all()
        assert (session_factors > 0).all()
        step_mean += chance * step_factors
        session_mean += chance * session_factors
    assert (step_mean <= 1 - stakes_B * (sum(wrong) - risk * len(steps)) + 1e-12).all()
    assert (session_mean <= 1 - lost_B * (any(wrong) - risk) + 1e-12).all()


def test_with_every_step_labelled_the_bet_is_the_unweighted_one() -> None:
    rng = np.random.default_rng(3)
    scores_N, wrong_N, session_N = CRITIC.draw_sessions(400, rng)
    labels = SelectiveLabels.of(scores_N, wrong_N, np.ones(scores_N.size), [str(s) for s in session_N])
    executed_N = scores_N >= 0.8
    executed_S = np.bincount(session_N[executed_N], minlength=400).astype(float)
    wrong_S = np.bincount(session_N[executed_N & wrong_N], minlength=400).astype(float)
    plain_SB = np.log1p(-np.outer(wrong_S - 0.1 * executed_S, step_stakes(9, 1.0)))
    assert step_log_factors(labels, executed_N, 0.1, step_stakes(9, 1.0)) == pytest.approx(plain_SB)
    most = int(executed_S.max())
    limit = weighted_upper(labels, executed_N, 0.05, most_steps=9)
    assert most == 9
    assert (betting_upper(executed_S, wrong_S, 0.1, 0.05) <= 0.1) == (limit <= 0.1)


@pytest.mark.parametrize(("rate", "correlation"), [(1.0, 0.3), (0.2, 0.0), (0.2, 0.8), (0.05, 0.3)])
def test_a_risk_that_is_as_large_as_the_bet_says_is_ever_rejected_in_at_most_delta_of_runs(
    rate: float, correlation: float
) -> None:
    """Looked at after every session."""
    cut = float(brentq(lambda t: CRITIC.risk(t) - 0.1, 0.3, 0.999))
    ever = 0
    for seed in range(RUNS):
        labels, executed_N = audited(seed, 500, correlation, rate, cut)
        log_capitals_SB = np.cumsum(step_log_factors(labels, executed_N, 0.1, step_stakes(9, rate)), axis=0)
        ever += log_total(log_capitals_SB, BOLD_SHARES).max() >= -math.log(DELTA)
    assert ever / RUNS <= DELTA + SLACK


def test_the_limit_covers_the_risk_and_is_the_narrower_the_more_is_audited() -> None:
    cut = 0.9
    truth = CRITIC.risk(cut)
    limits = {rate: [weighted_upper(*audited(s, 800, 0.3, rate, cut), DELTA) for s in range(20)] for rate in (1, 0.2)}
    assert all(np.mean(np.array(limit) < truth) <= DELTA for limit in limits.values())
    assert truth < np.mean(limits[1]) < np.mean(limits[0.2]) < 3 * truth + 0.05


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_the_session_risk_is_ever_rejected_wrongly_in_at_most_delta_of_runs(rate: float) -> None:
    cut = 0.93
    everything = CRITIC.draw_sessions(60_000, np.random.default_rng(99))
    lost = np.unique(everything[2][(everything[0] >= cut) & everything[1]]).size / 60_000
    ever = {lost: 0, 2.5 * lost: 0}
    for seed in range(RUNS):
        labels, executed_N = audited(seed, 400, 0.3, rate, cut)
        for risk in ever:
            factors_SB = session_log_factors(labels, executed_N, risk, session_stakes(rate))
            ever[risk] += log_total(np.cumsum(factors_SB, axis=0), BOLD_SHARES).max() >= -math.log(DELTA)
    assert ever[lost] / RUNS <= DELTA + SLACK
    assert ever[2.5 * lost] / RUNS > 0.5


def test_nothing_executed_has_the_limit_one() -> None:
    labels, executed_N = audited(0, 20, 0.0, 0.5, 0.9)
    assert weighted_upper(labels, np.zeros(executed_N.size, dtype=bool), 0.05) == 1
    assert weighted_upper(SelectiveLabels.of([], [], [], []), np.zeros(0, dtype=bool), 0.05) == 1


@pytest.mark.parametrize(
    ("scores", "wrong", "propensities", "message"),
    [
        ([math.nan, 0.5], [0, 1], [1, 1], "score 0"),
        ([0.5, 1.5], [0, 1], [1, 1], "score 1"),
        ([0.5, 0.5], [0, 2], [1, 1], "label 1"),
        ([0.5, 0.5], [0, math.nan], [1, 1], "propensity is 1"),
        ([0.5, 0.5], [0, 1], [1, 0], "propensity 1"),
        ([0.5, 0.5], [0, 1], [math.nan, 1], "propensity 0"),
        ([0.5, 0.5], [0, 1], [1, 1.2], "propensity 1"),
        ([0.5], [0, 1], [1, 1], "equally long"),
    ],
)
def test_what_cannot_be_evidence_is_refused(
    scores: list[float], wrong: list[float], propensities: list[float], message: str
) -> None:
    with pytest.raises(CertificateError, match=message):
        SelectiveLabels.of(scores, wrong, propensities, ["a", "a"])


def test_sessions_that_the_stakes_do_not_allow_for_are_refused() -> None:
    labels, executed_N = audited(0, 50, 0.0, 0.5, 0.9)
    for limits in ({"most_steps": 3}, {"least_propensity": 0.6}):
        with pytest.raises(CertificateError, match="stakes"):
            weighted_upper(labels, executed_N, 0.05, **limits)  # type: ignore[arg-type]
