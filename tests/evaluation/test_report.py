from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from desk_world import Judged, world

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.accuracy import evaluate_policy
from selective_autonomy.evaluation.metrics import auroc
from selective_autonomy.evaluation.replay import ReplayedStep
from selective_autonomy.evaluation.report import (
    EvaluationReport,
    ScoredSteps,
    certified_by_alpha,
    evaluate_critic,
    evaluate_threshold,
)
from selective_autonomy.gate import decide
from selective_autonomy.params import CertificateParams
from selective_autonomy.process.actions import SubmitForm

PARAMS = CertificateParams(alpha=0.1, alpha_session=0.1, delta=0.1, cuts=20)


def scored(split: Judged) -> ScoredSteps:
    return ScoredSteps(world().critic.p_accept(split.befores, split.proposals), ~split.accepted, split.session_ids)


def operator_again(replayed: list[ReplayedStep]) -> list[ReplayedStep]:
    return [
        ReplayedStep(r.step, r.proposal.model_copy(update={"action": r.step.action, "arguments": ()})) for r in replayed
    ]


def report() -> EvaluationReport:
    w = world()
    test = scored(w.calibrate)
    by_step, by_session = certified_by_alpha(scored(w.fit), test, (0.005, 0.5), PARAMS, seed=0)
    return EvaluationReport(
        process_id=w.schema.id,
        loss="tool",
        sessions=len(set(test.session_of_N)),
        steps=test.scores_N.size,
        policy=evaluate_policy(w.calibrate.replayed, seed=0),
        critic=evaluate_critic(test, [p.p_head for p in w.calibrate.proposals], seed=0),
        certified=by_step,
        certified_sessions=by_session,
    )


def test_the_operators_own_actions_are_right_at_every_level_but_free_text() -> None:
    figures = evaluate_policy(operator_again(world().calibrate.replayed), seed=0)
    assert figures["tool"].value == figures["loose"].value == figures["form_exact"].value == 1
    assert figures["session_tool"].value == 1
    texts = np.mean([r.step.action.type == "send_text_to_chat" for r in world().calibrate.replayed])
    assert figures["strict"].value == pytest.approx(1 - texts)


def test_the_levels_of_a_policy_are_nested_and_intervals_hold_their_values() -> None:
    figures = evaluate_policy(world().calibrate.replayed, seed=0)
    assert figures["tool"].value >= figures["loose"].value >= figures["strict"].value
    assert figures["tool"].value == pytest.approx(world().calibrate.accepted.mean())
    for figure in figures.values():
        assert figure.low <= figure.value <= figure.high


def test_forms_count_only_where_the_right_form_was_proposed() -> None:
    w = world()
    judged = zip(w.calibrate.replayed, w.calibrate.accepted, strict=True)
    n = sum(isinstance(r.step.action, SubmitForm) and accepted for r, accepted in judged)
    assert evaluate_policy(w.calibrate.replayed, seed=0)["form_exact"].n == n > 0


def test_a_policy_without_steps_is_not_evaluated() -> None:
    with pytest.raises(SplitError):
        evaluate_policy([], seed=0)


def test_the_critic_is_measured_beside_the_policys_probability() -> None:
    w = world()
    test = scored(w.calibrate)
    p_head = [p.p_head for p in w.calibrate.proposals]
    figures = evaluate_critic(test, p_head, seed=0)
    assert figures["auroc"].value == auroc(test.scores_N, ~test.wrong_N)
    assert figures["auroc_policy_probability"].value == auroc(p_head, ~test.wrong_N)
    assert figures["auroc"].low < figures["auroc"].value < figures["auroc"].high
    assert "gate_f1_certified" not in figures


def test_the_gate_is_measured_at_a_half_and_at_the_certified_threshold() -> None:
    test = ScoredSteps(np.array([0.9, 0.6, 0.3, 0.2]), np.array([False, True, False, True]), ["a", "a", "b", "b"])
    figures = evaluate_critic(test, [0.9, 0.4, 0.8, 0.1], seed=0, certified_threshold=0.8)
    assert figures["gate_recall"].value == 0.5
    assert figures["gate_recall_policy_probability"].value == 1
    assert figures["gate_recall_certified"].value == pytest.approx((1 / 2 + 1) / 2)
    assert figures["gate_precision_certified"].value == pytest.approx((1 + 2 / 3) / 2)


def test_a_threshold_is_measured_by_what_it_executes() -> None:
    test = ScoredSteps(np.array([0.9, 0.8, 0.3, 0.9]), np.array([False, True, True, False]), ["a", "a", "b", "b"])
    coverage, risk, session_risk = evaluate_threshold(test, 0.8, seed=0)
    assert (coverage.value, risk.value, session_risk.value) == (0.75, 1 / 3, 0.5)


def test_a_refused_alpha_has_no_figures_and_says_why() -> None:
    got = report().certified["0.005"]
    assert got.threshold is None
    assert got.coverage is None
    assert got.refusal in ("too_few_labels", "error_too_high")


def test_a_certified_alpha_has_figures_of_the_test_split() -> None:
    got = report().certified["0.50"]
    assert got.coverage is not None
    assert got.risk is not None
    assert got.coverage.n == world().calibrate.accepted.size
    assert got.risk.value < 0.55


def test_test_sessions_with_a_procedure_that_calibrate_never_had_open_execute_nothing() -> None:
    calibrate, test = scored(world().fit), scored(world().calibrate)
    known = replace(calibrate, procedures_N=[("move",)] * calibrate.scores_N.size)
    new_N = [session == test.session_of_N[0] for session in test.session_of_N]
    mixed = replace(test, procedures_N=[("move", "loan") if new else ("move",) for new in new_N])
    everything = certified_by_alpha(calibrate, test, (0.5,), PARAMS, seed=0)
    for asked, gated in zip(everything, certified_by_alpha(known, mixed, (0.5,), PARAMS, seed=0), strict=True):
        threshold = asked["0.50"].threshold
        assert threshold is not None
        executed_N = (test.scores_N >= threshold) & ~np.array(new_N)
        assert gated["0.50"].threshold == threshold
        assert gated["0.50"].coverage is not None
        assert gated["0.50"].coverage.value == pytest.approx(executed_N.mean())
        assert gated["0.50"].coverage.value < asked["0.50"].coverage.value  # type: ignore[union-attr]


def test_a_report_survives_json_and_prints_every_figure() -> None:
    made = report()
    assert EvaluationReport.model_validate_json(made.model_dump_json()) == made
    table = made.markdown()
    for name in (*made.policy, *made.critic):
        assert f": {name} |" in table
    assert "| steps | 0.50 |" in table
    assert "| steps | 0.005 | 0 | – |" in table


def test_a_curve_counts_as_executed_exactly_what_the_gate_would_execute() -> None:
    scores_N = np.random.default_rng(3).uniform(size=200).round(2)
    test = ScoredSteps(scores_N, np.zeros(200, dtype=bool), [str(i // 5) for i in range(200)])
    proven = {"tier": "critical", "legal": True, "procedures_certified": True, "stage": "selective"}
    for threshold in (0.0, 0.25, float(scores_N[7]), 1.0):
        gated = [
            decide(p_accept=float(p), threshold=threshold, **proven).outcome  # type: ignore[arg-type]
            for p in scores_N
        ]
        assert evaluate_threshold(test, threshold, seed=0)[0].value == gated.count("execute") / 200
