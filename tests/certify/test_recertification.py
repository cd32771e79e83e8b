"""The threshold chosen anew every day: no promise broken, something certified, nothing lost by a restart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from selective_autonomy.certify.recertification import Recertification
from selective_autonomy.certify.recertification_state import RecertificationPlan, RecertificationState
from selective_autonomy.certify.weights import SelectiveLabels
from selective_autonomy.errors import CertificateError
from selective_autonomy.evaluation.recalibration import recalibrate_daily
from selective_autonomy.evaluation.simulated_critic import SimulatedCritic
from selective_autonomy.params import CertificateParams

CRITIC = SimulatedCritic()
STEPS_ONLY = CertificateParams(alpha=0.1, alpha_session=None, delta=0.05, cuts=20)
BOTH = CertificateParams(alpha=0.1, alpha_session=0.2, delta=0.1, cuts=20)
MADE_FOR = {"process_id": "p", "loss": "l", "splits": {}, "policy_digest": "a", "critic_digest": "b"}


def plan_for(params: CertificateParams, least_propensity: float = 0.25) -> RecertificationPlan:
    scores_N, _, session_N = CRITIC.draw_sessions(300, np.random.default_rng(1))
    names = [str(s) for s in session_N]
    return RecertificationPlan.fixed_by(scores_N, names, params, most_steps=9, least_propensity=least_propensity)


def begun(params: CertificateParams) -> Recertification:
    return Recertification(RecertificationState.begun(plan_for(params), params))


def a_day(seed: int, sessions: int = 150, rate: float = 0.25, flipped: float = 0.0) -> SelectiveLabels:
    """Sessions gated at 0.9; so many of the right steps are wrong after all, and the critic does not know."""
    rng = np.random.default_rng(seed)
    scores_N, wrong_N, session_N = CRITIC.draw_sessions(sessions, rng)
    wrong_N = wrong_N | (rng.random(wrong_N.size) < flipped)
    propensities_N = np.where(scores_N >= 0.9, rate, 1.0)
    shown_N = np.where(rng.random(scores_N.size) < propensities_N, wrong_N, np.nan)
    return SelectiveLabels.of(scores_N, shown_N, propensities_N, [f"{seed}-{s}" for s in session_N])


@pytest.mark.parametrize("rate", [1.0, 0.2, 0.05])
def test_in_weeks_of_daily_recertification_no_more_than_delta_of_runs_ever_break_the_promise(rate: float) -> None:
    runs = [recalibrate_daily(CRITIC, STEPS_ONLY, audit_rate=rate, seed=s, days=25) for s in range(8)]
    assert sum(run.is_broken(0.1) for run in runs) <= 1
    assert np.mean([run.coverage_D[-1] for run in runs]) > 0.75
    assert all(run.coverage_D[0] == 0 for run in runs)


def test_taking_every_step_that_nobody_disputed_for_right_breaks_the_promise() -> None:
    runs = [recalibrate_daily(CRITIC, STEPS_ONLY, audit_rate=0.2, seed=s, days=25, use="undisputed") for s in range(6)]
    assert all(run.is_broken(0.1) for run in runs)


def test_labels_of_deferred_steps_without_weights_overstate_the_risk() -> None:
    labels = a_day(3, sessions=4000)
    above_N = labels.scores_N >= 0.8
    known_N = above_N & labels.labelled_N
    unweighted = labels.wrong_N[known_N].mean()
    weighted = (labels.wrong_N[known_N] / labels.propensities_N[known_N]).sum() / above_N.sum()
    assert weighted == pytest.approx(CRITIC.risk(0.8), rel=0.12)
    assert unweighted > 1.5 * CRITIC.risk(0.8)


def test_a_certificate_for_steps_and_sessions_stands_at_one_threshold() -> None:
    recertification = begun(BOTH)
    for seed in range(8):
        recertification.observe(a_day(seed))
    certificate = recertification.certificate(**MADE_FOR)  # type: ignore[arg-type]
    assert certificate.threshold == recertification.threshold
    assert certificate.threshold is not None
    assert [bound.unit for bound in certificate.bounds] == ["step", "session"]
    population = CRITIC.draw_sessions(20_000, np.random.default_rng(99))
    executed_N = population[0] >= certificate.threshold
    assert population[1][executed_N].mean() <= 0.1
    assert np.unique(population[2][executed_N & population[1]]).size / 20_000 <= 0.2
    assert certificate.bounds[0].delta == pytest.approx(0.05)


def test_a_refusal_says_how_many_labels_are_missing_and_they_are_about_enough() -> None:
    recertification = begun(STEPS_ONLY)
    empty = recertification.certificate(**MADE_FOR).bounds[0]  # type: ignore[arg-type]
    assert (empty.refusal, empty.n) == ("too_few_labels", 0)
    assert empty.labels_missing is not None
    recertification.observe(a_day(0, sessions=40))
    refused = recertification.certificate(**MADE_FOR).bounds[0]  # type: ignore[arg-type]
    assert refused.refusal == "too_few_labels"
    assert refused.labels_missing is not None
    seed = 1
    while recertification.threshold is None:
        recertification.observe(a_day(seed, sessions=20))
        seed += 1
    needed = recertification.state.labelled - refused.n
    assert refused.labels_missing / 3 < needed < 3 * refused.labels_missing


def test_a_critic_that_is_always_wrong_certifies_nothing_and_no_number_of_labels_would_do() -> None:
    recertification = begun(STEPS_ONLY)
    recertification.observe(a_day(0, sessions=300, rate=1.0, flipped=1.0))
    bound = recertification.certificate(**MADE_FOR).bounds[0]  # type: ignore[arg-type]
    assert (bound.threshold, bound.refusal, bound.labels_missing) == (None, "error_too_high", None)


def test_a_certificate_is_withdrawn_once_the_evidence_has_turned() -> None:
    recertification = begun(STEPS_ONLY)
    for seed in range(6):
        recertification.observe(a_day(seed))
    assert recertification.threshold is not None
    for seed in range(6, 26):
        recertification.observe(a_day(seed, flipped=0.3))
    assert recertification.threshold is None


def test_a_restart_changes_nothing_and_days_add_up_in_any_order() -> None:
    whole, torn, reversed_days = begun(BOTH), begun(BOTH), begun(BOTH)
    for seed in range(4):
        whole.observe(a_day(seed))
        torn = Recertification(RecertificationState.model_validate_json(torn.state.model_dump_json()))
        torn.observe(a_day(seed))
        reversed_days.observe(a_day(3 - seed))
    assert torn.state == whole.state
    assert np.allclose(whole.state.step_capitals, reversed_days.state.step_capitals)
    assert whole.state.digest != reversed_days.state.digest


def test_audits_that_were_drawn_and_got_lost_are_noticed() -> None:
    recertification = begun(STEPS_ONLY)
    labels = a_day(0, sessions=400)
    lost_N = np.where(labels.propensities_N < 1, np.nan, labels.wrong_N)
    names = [str(s) for s in labels.session_N]
    before = recertification.state
    with pytest.raises(CertificateError, match="audits that were drawn are missing"):
        recertification.observe(SelectiveLabels.of(labels.scores_N, lost_N, labels.propensities_N, names))
    assert recertification.state == before


def test_sessions_that_the_plan_does_not_allow_for_are_refused_and_change_nothing() -> None:
    recertification = begun(STEPS_ONLY)
    with pytest.raises(CertificateError, match="stakes"):
        recertification.observe(a_day(0, rate=0.1))
    with pytest.raises(CertificateError, match="stakes"):
        recertification.observe(a_day(0), least_propensity=1.0)
    assert recertification.state.sessions == 0


def test_a_plan_wants_scores_and_cuts_in_order() -> None:
    with pytest.raises(CertificateError, match="got none"):
        RecertificationPlan.fixed_by([], [], STEPS_ONLY, most_steps=9, least_propensity=0.5)
    for bad in ({"cuts": (0.5, 0.9)}, {"start": 2}, {"cuts": (2.0, 0.5)}, {"least_propensity": 0.0}):
        with pytest.raises(ValueError, match=r"cuts|start|propensity"):
            RecertificationPlan.model_validate(
                {"cuts": (0.9, 0.5), "start": 0, "most_steps": 5, "least_propensity": 0.5, **bad}
            )


def test_a_damaged_state_is_refused() -> None:
    state = json.loads(begun(BOTH).state.model_dump_json())
    for damage in ({"executed": [0]}, {"session_capitals": []}, {"step_highest": [None] * 20}):
        with pytest.raises(ValueError, match=r"capitals|highest"):
            RecertificationState.model_validate({**state, **damage})
