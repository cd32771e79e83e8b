from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from desk_world import PARAMS, Judged, world
from small_policy import GENERATIVE, rows, untrained

from selective_autonomy.evaluation.critics import (
    CALIBRATIONS,
    Feedback,
    Scores,
    calibrated_across,
    calibrations,
    certified_across,
    rank_and_calibration,
    score_critics,
)
from selective_autonomy.evaluation.intervals import Figure
from selective_autonomy.params import CertificateParams, StackedParams

STACKED = StackedParams(evidence=PARAMS, generative=GENERATIVE, seed=1)
PROMISE = CertificateParams(alpha=0.3, alpha_session=None, delta=0.1, cuts=20)


def feedback(judged: Judged) -> Feedback:
    return Feedback(judged.befores, judged.proposals, judged.accepted)


@cache
def scores() -> Scores:
    return score_critics(untrained(), world().evidence, feedback(rows(20)), STACKED)


def test_every_kind_has_scores_and_a_critic_of_the_same_feedback() -> None:
    made = scores()
    assert set(made.critics) == {critic.kind for critic in made.critics.values()}
    assert set(made.critics) == {"policy_probability", "generative", "evidence", "stacked"}
    assert all(np.isfinite(raw_N).all() and raw_N.size == made.fold_N.size for raw_N in made.raw.values())


def test_figures_tell_kinds_apart_and_a_critic_is_as_good_as_itself() -> None:
    figures = rank_and_calibration(scores(), seed=0)
    assert figures["evidence"]["auroc_over_evidence"].value == 0
    assert figures["evidence"]["auroc_over_evidence"].high == 0
    for kind, of_kind in figures.items():
        difference = of_kind["auroc"].value - figures["evidence"]["auroc"].value
        assert of_kind["auroc_over_evidence"].value == pytest.approx(difference), kind
        assert all(0 <= of_kind[name].value <= 1 for name in ("aurc", "ece", "brier", "gate_f1"))
    by_kind = calibrations(scores())
    assert by_kind["evidence"]["by_action"]["ece"] == figures["evidence"]["ece"].value
    assert set(by_kind["generative"]) == set(CALIBRATIONS)


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_a_rows_probability_does_not_know_the_labels_of_its_own_fold(name: str) -> None:
    made = scores()
    held_N = made.fold_N == 0
    turned = replace(made.fit, accepted_N=made.fit.accepted_N ^ held_N)
    raw_N, params = made.raw["evidence"], CALIBRATIONS[name]
    p_N, other_N = (calibrated_across(one, raw_N, params) for one in (made, replace(made, fit=turned)))
    np.testing.assert_array_equal(p_N[held_N], other_N[held_N])
    assert not np.array_equal(p_N, other_N)


def test_what_is_certified_on_some_sessions_is_measured_on_the_others() -> None:
    w = world()
    found = certified_across(w.critic, feedback(w.calibrate), (0.001, 0.5), PROMISE, seed=0)
    strict, loose = found["0.001"], found["0.50"]
    assert (strict["refused"], loose["refused"]) == (5, 0)
    assert isinstance(strict["coverage"], Figure)
    assert isinstance(loose["coverage"], Figure)
    assert isinstance(loose["risk"], Figure)
    assert strict["coverage"].value == 0
    assert loose["coverage"].value > 0.2
    assert loose["risk"].value < 0.5
