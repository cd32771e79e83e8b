"""The replay evaluation of a process on its test split: with the released critic, and for the stricter loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from dagster_project.judged_steps import ADJUDICATED_LOSS, LOSSES, JudgedStep, read_judged
from dagster_project.process_data import sessions_of
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.evaluation.accuracy import evaluate_policy
from selective_autonomy.evaluation.report import (
    EvaluationReport,
    ScoredSteps,
    alpha_key,
    certified_by_alpha,
    evaluate_critic,
)
from selective_autonomy.params import ProcessParams
from selective_autonomy.process.comparison import same_action
from selective_autonomy.process.schema import ProcessSchema, load_process
from selective_autonomy.traces.schema import Session

if TYPE_CHECKING:
    from selective_autonomy.critic.protocol import Critic

LogLoss = Literal["tool", "strict"]
ALPHAS = (0.05, 0.10, 0.20, 0.30)
SEED = 0  # of the bootstrap: the same files give the same intervals


@dataclass(frozen=True)
class Measured:
    """A report and the scored test steps behind its figures; `p_head`: the policy's own probability for each."""

    report: EvaluationReport
    test: ScoredSteps
    p_head: np.ndarray


def measure_process(paths: ProcessPaths, params: ProcessParams) -> dict[str, Measured]:
    """Loss -> what was measured on test. The first is the loss that the released certificate is about.

    For logs the losses "tool" and "strict" are both measured. The one that the released critic was not made for
    gets a critic of its own, fitted on the same split with its own labels; it is measured and not kept.
    """
    from selective_autonomy.critic.kinds import load_critic

    schema = load_process(paths.schema)
    sessions = sessions_of(paths, "train", "fit", "calibrate", "test")
    judged = read_judged(paths.feedback, {s: sessions[s] for s in ("fit", "calibrate", "test")})
    released = load_critic(paths.critic, policy=paths.policy)
    if params.feedback == "desk":
        return {"desk": _measure(judged, schema, params, *_desk_loss(params), released)}
    own = "tool" if params.feedback == "log_tool" else "strict"
    measured = {own: _measure(judged, schema, params, LOSSES[params.feedback], lambda one: one.wrong, released)}
    other: LogLoss = "strict" if own == "tool" else "tool"
    measured[other] = measure_log_loss(other, judged, sessions["train"], schema, params, policy=paths.policy)
    return measured


def measure_log_loss(
    loss: LogLoss,
    judged: Sequence[JudgedStep],
    train: Sequence[Session],
    schema: ProcessSchema,
    params: ProcessParams,
    *,
    policy: Path,
) -> Measured:
    """A critic fitted on fit, certificates made on calibrate, both measured on test; wrong is what the log says is.

    Args:
        loss: "tool": another form, reply, control or free text than the operator's; "strict": another action.
        judged: of fit, calibrate and test; the operators' own verdicts take no part.
        train: the sessions that the policy was trained on.
    """
    from selective_autonomy.critic.kinds import fit_critic

    wrong, fit = _not_same(loss), _critical(judged, schema, "fit")
    critic = fit_critic(
        train,
        schema,
        [one.before for one in fit],
        [one.proposal for one in fit],
        [not wrong(one) for one in fit],
        params.critic,
        policy=policy,
    )
    return _measure(judged, schema, params, LOSSES[f"log_{loss}"], wrong, critic)


def figures_of(report: EvaluationReport) -> dict[str, float]:
    """The report's figures as flat numbers, for MLflow and Dagster: names as in its dictionaries."""
    flat = {f"policy.{name}": figure.value for name, figure in report.policy.items()}
    flat |= {f"critic.{name}": figure.value for name, figure in report.critic.items()}
    for promise, by_alpha in (("certified", report.certified), ("certified_session", report.certified_sessions)):
        for alpha, got in by_alpha.items():
            flat[f"{promise}.{alpha}.coverage"] = got.coverage.value if got.coverage else 0.0
    return {name: value for name, value in flat.items() if math.isfinite(value)}


def _measure(
    judged: Sequence[JudgedStep],
    schema: ProcessSchema,
    params: ProcessParams,
    loss: str,
    wrong: Callable[[JudgedStep], bool],
    critic: Critic,
) -> Measured:
    all_test = [one for one in judged if one.split == "test"]
    test = _critical(judged, schema, "test")
    scored, p_head_N = _scored(test, wrong, critic), np.array([one.proposal.p_head for one in test])
    certified, certified_sessions = certified_by_alpha(
        _scored(_critical(judged, schema, "calibrate"), wrong, critic),
        scored,
        ALPHAS,
        params.certificate,
        seed=SEED,
        cuts_C=critic.cuts(params.certificate.cuts),
    )
    promised = certified.get(alpha_key(params.certificate.alpha))
    report = EvaluationReport(
        process_id=schema.id,
        loss=loss,
        sessions=len({one.replayed.session_id for one in all_test}),
        steps=len(all_test),
        policy=evaluate_policy([one.replayed for one in all_test], seed=SEED),
        critic=evaluate_critic(
            scored, p_head_N, seed=SEED, certified_threshold=promised.threshold if promised else None
        ),
        certified=certified,
        certified_sessions=certified_sessions,
    )
    return Measured(report, scored, p_head_N)


def _scored(steps: Sequence[JudgedStep], wrong: Callable[[JudgedStep], bool], critic: Critic) -> ScoredSteps:
    return ScoredSteps(
        critic.p_accept([one.before for one in steps], [one.proposal for one in steps]),
        np.array([wrong(one) for one in steps], dtype=bool),
        [one.replayed.session_id for one in steps],
        [one.before.procedures for one in steps],
    )


def _critical(judged: Sequence[JudgedStep], schema: ProcessSchema, split: str) -> list[JudgedStep]:
    return [one for one in judged if one.split == split and schema.tier(one.proposal.action.type).tier == "critical"]


def _desk_loss(params: ProcessParams) -> tuple[str, Callable[[JudgedStep], bool]]:
    """What the released certificate counts as wrong. On test the truth is known, so it is measured, not confirmed."""
    if params.certificate.adjudicated:
        return ADJUDICATED_LOSS, lambda one: one.counts_as_wrong(adjudicated=True)
    return LOSSES["desk"], lambda one: one.wrong


def _not_same(level: LogLoss) -> Callable[[JudgedStep], bool]:
    return lambda one: not same_action(one.proposal.action, one.replayed.step.action, level)
