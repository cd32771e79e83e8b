"""The noise experiment's parts on evidence whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from desk_world import world

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.corruptions import Verdicts, random_flips, rubber_stamps
from selective_autonomy.evaluation.gated_run import ArmCase
from selective_autonomy.evaluation.live import Worked, compare_arms
from selective_autonomy.evaluation.noise import (
    Draw,
    Learned,
    Pool,
    corrupted,
    learn,
    measure,
    naive_threshold,
    run_cell,
)
from selective_autonomy.params import CertificateParams, CriticParams

CRITIC = CriticParams(trees=20, leaves=4, learning_rate=0.2, min_leaf=10, seed=7)
PROMISE = CertificateParams(alpha=0.2, alpha_session=0.5, delta=0.1, cuts=50)
STEPS = 8


@pytest.fixture(scope="module")
def pool() -> Pool:
    """600 sessions of eight steps; the first column of evidence tells right from wrong well, not fully."""
    evidence = world().evidence
    rng = np.random.default_rng(3)
    wrong = rng.random(600 * STEPS) < 0.15
    x = rng.normal(size=(wrong.size, len(evidence.names)))
    x[:, 0] += np.where(wrong, -2.0, 2.0)
    sessions = np.array([f"s{n // STEPS:03d}" for n in range(wrong.size)])
    return Pool(
        evidence=evidence,
        x_NF=x,
        verdicts=Verdicts(
            rejected_N=wrong ^ (rng.random(wrong.size) < 0.03),
            wrong_N=wrong,
            operator_N=rng.integers(5, size=wrong.size),
            shift_N=rng.random(wrong.size),
            kind_N=np.zeros(wrong.size, dtype=np.int64),
        ),
        session_of_N=sessions,
        seconds_N=np.full(wrong.size, 10.0),
        human_seconds=dict.fromkeys(np.unique(sessions).tolist(), 10.0 * STEPS),
        handover_seconds=26.0,
    )


DRAW = Draw(*(frozenset(f"s{n:03d}" for n in part) for part in (range(200), range(200, 400), range(400, 600))))


def test_the_noise_model_keeps_its_promise_and_executes_more_than_raw_verdicts(pool: Pool) -> None:
    cell = run_cell(pool, DRAW, random_flips, 0.15, PROMISE, CRITIC, probes=100, seed=0)
    raw, model = cell["certificate"][1], cell["certificate_noise_model"][1]
    assert model.step_coverage > raw.step_coverage
    assert model.session_risk <= 0.5
    assert model.true_risk <= 0.2
    learned = cell["certificate_noise_model"][0]
    assert learned is not None
    assert learned.sensitivity is not None
    assert 0.6 < learned.sensitivity.caught / learned.sensitivity.planted < 0.95
    assert learned.adjudicated > 100


def test_blind_verdicts_end_in_a_refusal_and_not_in_a_false_promise(pool: Pool) -> None:
    blind = corrupted(pool, rubber_stamps, 1.0, seed=0)
    assert not blind.verdicts.rejected_N.any()
    cell = run_cell(pool, DRAW, rubber_stamps, 1.0, PROMISE, CRITIC, probes=50, seed=0)
    assert cell["certificate_noise_model"] == (None, cell["naive"][1])
    assert cell["naive"][1].step_coverage == 0


def test_what_is_measured_adds_up(pool: Pool) -> None:
    critic = learn(pool, DRAW, "naive", PROMISE, CRITIC, probes=10, seed=0).critic
    everything, nothing = (measure(pool, DRAW, Learned(critic, t)) for t in (0.0, None))
    test_N = np.isin(pool.session_of_N, sorted(DRAW.test))
    assert everything.step_coverage == everything.session_coverage == 1
    assert everything.true_risk == pytest.approx(pool.verdicts.wrong_N[test_N].mean())
    assert everything.active_seconds_change == -1
    assert nothing.step_coverage == nothing.active_seconds_change == 0
    half = measure(pool, DRAW, Learned(critic, float(np.median(critic.p_accept_rows(pool.x_NF[test_N])))))
    assert 0.4 < half.step_coverage < 0.6
    assert half.active_seconds_change == pytest.approx(-half.step_coverage + 26 / 80, abs=0.02)  # one hand-over each


def test_the_naive_threshold_keeps_both_promises_on_its_own_labels_and_no_lower_one_does() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    wrong = np.array([0, 0, 1, 0, 1, 1], dtype=bool)
    sessions = np.array(["a", "b", "c", "d", "c", "a"])
    steps_only = CertificateParams(alpha=0.25, delta=0.1, cuts=10)
    assert naive_threshold(scores, wrong, sessions, steps_only) == 0.6
    both = CertificateParams(alpha=0.5, alpha_session=0.25, delta=0.1, cuts=10)
    assert naive_threshold(scores, wrong, sessions, both) == 0.5  # the second error is of a session already lost
    assert naive_threshold(scores, np.ones(6, dtype=bool), sessions, steps_only) is None


def _case(number: int, seconds: float, *, solved: bool = True, touched: bool = True, wrong: int = 0) -> ArmCase:
    return ArmCase(
        case_id=str(number), critical_steps=4, executed_steps=2, wrong_executed=wrong, routine_executed=0,
        routine_wrong=0, touched=touched, active_seconds=seconds, solved=solved,
    )  # fmt: skip


def test_arms_are_compared_within_operators() -> None:
    """The slow operator has most of the gated cases; compared over all of them nothing would be saved."""
    rng = np.random.default_rng(0)

    def arm(fast: int, slow: int, factor: float) -> list[Worked]:
        paces = [("fast", 100.0)] * fast + [("slow", 300.0)] * slow
        return [Worked(_case(n, factor * s * rng.uniform(0.9, 1.1)), name) for n, (name, s) in enumerate(paces)]

    found = compare_arms([arm(50, 150, 0.5)], [arm(150, 50, 1.0)], alpha_session=0.05, margin=0.03, seed=0)
    assert found["active_seconds_change"]["value"] == pytest.approx(-0.5, abs=0.02)
    assert found["active_seconds_change"]["low"] < -0.5 < found["active_seconds_change"]["high"]
    assert found["outcome_not_worse"]
    assert found["outcome_equivalent"]
    assert found["session_coverage"]["value"] == 0


def test_a_loss_of_quality_and_a_broken_promise_are_said() -> None:
    gated = [Worked(_case(n, 10.0, solved=n % 5 > 0, touched=n % 2 == 0, wrong=n % 4 == 0), "a") for n in range(200)]
    human = [Worked(_case(n, 20.0), "a") for n in range(200)]
    found = compare_arms([gated], [human], alpha_session=0.05, margin=0.03, seed=0)
    assert not found["outcome_not_worse"]
    assert found["seeds_over_alpha_significantly"] == 1
    assert found["session_coverage"]["value"] == 0.5


def test_arms_without_a_common_operator_cannot_be_compared() -> None:
    one, other = [Worked(_case(0, 1.0), "a")], [Worked(_case(0, 1.0), "b")]
    with pytest.raises(SplitError, match="no operator"):
        compare_arms([one], [other], alpha_session=0.05, margin=0.03, seed=0)
    with pytest.raises(SplitError, match="0 and 1"):
        compare_arms([[]], [other], alpha_session=0.05, margin=0.03, seed=0)
