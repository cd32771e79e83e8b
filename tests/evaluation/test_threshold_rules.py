"""Threshold rules on a critic whose truth is known: what is promised is kept, and what is naive is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selective_autonomy.evaluation.simulated_critic import SimulatedCritic
from selective_autonomy.evaluation.threshold_rules import RULES

DRAWS, DELTA = 150, 0.1
ALONE = [str(n) for n in range(2000)]  # each step a session of its own
SLACK = 2 * np.sqrt(DELTA * (1 - DELTA) / DRAWS)


@settings(max_examples=12, deadline=None)
@given(auroc=st.floats(0.6, 0.95), error=st.floats(0.02, 0.5), threshold=st.floats(0.3, 0.98))
def test_a_simulated_critic_is_as_good_as_it_says(auroc: float, error: float, threshold: float) -> None:
    critic = SimulatedCritic(auroc=auroc, base_error=error)
    scores, wrong = critic.draw(40_000, np.random.default_rng(3))
    executed = scores >= threshold
    assert wrong.mean() == pytest.approx(error, abs=0.01)
    assert executed.mean() == pytest.approx(critic.coverage(threshold), abs=0.02)
    if executed.any():
        assert abs(wrong[executed].mean() - critic.risk(threshold)) < 4 * np.sqrt(0.25 / executed.sum())
    bins = np.digitize(scores, np.linspace(0, 1, 11))
    for b in np.unique(bins):
        n = (bins == b).sum()
        assert abs(scores[bins == b].mean() - 1 + wrong[bins == b].mean()) < 4 * np.sqrt(0.25 / n)
    right_scores, wrong_scores = scores[~wrong][:2000], scores[wrong][:2000]
    assert (right_scores[:, None] > wrong_scores[None]).mean() == pytest.approx(auroc, abs=0.03)


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01])
def test_the_oracle_executes_all_that_alpha_allows(alpha: float) -> None:
    critic = SimulatedCritic()
    allowed = [critic.coverage(t) for t in np.linspace(0.01, 0.999, 4000) if critic.risk(t) <= alpha]
    assert critic.oracle(alpha) == pytest.approx(max(allowed), abs=0.002)
    assert SimulatedCritic(base_error=0.005).oracle(alpha) == 1.0


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_promise_is_broken_in_at_most_delta_of_draws_but_for_the_naive_rule(name: str) -> None:
    critic, rng = SimulatedCritic(), np.random.default_rng(5)
    broken, coverage = 0, 0.0
    for _ in range(DRAWS):
        threshold = RULES[name](*critic.draw(800, rng), ALONE[:800], 0.05, DELTA)
        if threshold is not None:
            broken += critic.risk(threshold) > 0.05
            coverage += critic.coverage(threshold) / DRAWS
    if name == "naive":
        assert broken / DRAWS > 0.3
    else:
        assert broken / DRAWS <= DELTA + SLACK
        assert 0.3 < coverage < critic.oracle(0.05)


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_critic_that_is_always_wrong_executes_nothing(name: str) -> None:
    scores = np.linspace(0.1, 0.9, 50)
    assert RULES[name](scores, np.ones(50, dtype=bool), ALONE[:50], 0.1, 0.05) is None


@pytest.mark.parametrize("name", sorted(RULES))
def test_ties_everywhere_execute_all_or_nothing(name: str) -> None:
    scores = np.full(400, 0.5)
    assert RULES[name](scores, np.zeros(400, dtype=bool), ALONE[:400], 0.1, 0.05) == 0.5
    assert RULES[name](scores, np.ones(400, dtype=bool), ALONE[:400], 0.1, 0.05) is None


def test_the_certificate_executes_more_than_the_other_rules_that_keep_their_promise() -> None:
    critic = SimulatedCritic()
    for alpha, n in ((0.1, 500), (0.05, 1000), (0.02, 2000)):
        rng, kept = np.random.default_rng(9), dict.fromkeys(RULES, 0.0)
        for _ in range(40):
            draw = critic.draw(n, rng)
            for name, rule in RULES.items():
                threshold = rule(*draw, ALONE[:n], alpha, 0.05)
                kept[name] += 0.0 if threshold is None else critic.coverage(threshold)
        assert kept["ours"] > kept["sgr"]
        assert kept["ours"] > kept["bonferroni"]


def test_sessions_that_go_wrong_together_are_seen_by_the_certificate_alone() -> None:
    rng, alpha = np.random.default_rng(11), 0.1
    broken = dict.fromkeys(RULES, 0)
    for _ in range(200):
        # 120 sessions of 12 steps; half of the risk comes from sessions of which most goes wrong. True risk: alpha.
        bad_session = rng.random(120) < 0.05
        wrong = rng.random((120, 12)) < np.where(bad_session, 0.9, (alpha - 0.045) / 0.95)[:, None]
        scores, sessions = np.full(1440, 0.5), [str(s) for s in range(120) for _ in range(12)]
        for name, rule in RULES.items():
            broken[name] += rule(scores, wrong.ravel(), sessions, alpha - 1e-3, 0.05) is not None
    assert broken["sgr"] / 200 > 0.12
    assert broken["ours"] / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200) + 0.03  # approximate: few bad sessions
