"""Critics of every kind on the same feedback: how they rank and how they are calibrated, cross-validated by session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.critic.boosted import BoostedCritic
from selective_autonomy.critic.by_action import Calibration, types_of
from selective_autonomy.critic.calibration import row_log_loss
from selective_autonomy.critic.cross_fitting import session_folds
from selective_autonomy.critic.evidence import Evidence
from selective_autonomy.critic.generative import GenerativeCritic
from selective_autonomy.critic.joining import Parts
from selective_autonomy.critic.policy_probability import PolicyProbabilityCritic, log_odds
from selective_autonomy.critic.protocol import Critic
from selective_autonomy.critic.stacked import StackedCritic
from selective_autonomy.evaluation.intervals import Figure, share_interval, statistic_interval
from selective_autonomy.evaluation.metrics import augrc, aurc, auroc, brier, ece, gate_f1, gate_precision, gate_recall
from selective_autonomy.evaluation.report import ScoredSteps, alpha_key, step_bound
from selective_autonomy.params import (
    CalibrationMap,
    CalibrationParams,
    CertificateParams,
    PolicyProbabilityParams,
    StackedParams,
)
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.traces.schema import Session

if TYPE_CHECKING:
    from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy

_EVEN = 0.5  # where accept and reject are equally likely: the threshold of a classifier
_MAPS: tuple[CalibrationMap, ...] = ("platt", "isotonic", "venn_abers")
CALIBRATIONS: Mapping[str, CalibrationParams] = {
    **{name: CalibrationParams(maps=(name,), by_action=False) for name in _MAPS},
    "pooled": CalibrationParams(by_action=False),
    "by_action": CalibrationParams(),
}


@dataclass(frozen=True)
class Feedback:
    """Critical steps of one split: the log before each, what was proposed, and whether it was accepted."""

    befores: Sequence[Session]
    proposals: Sequence[Proposal]
    accepted_N: NDArray[np.bool_]

    @property
    def sessions(self) -> list[str]:
        return [before.session_id for before in self.befores]


@dataclass(frozen=True)
class Scores:
    """`raw`: kind -> out-of-fold log-odds of the fit split, before calibration. `critics`: kind -> fitted on all of it.

    A stacked critic keeps the better of its two ways to join; both are among the scores.
    """

    fit: Feedback
    fold_N: NDArray[np.int64]
    raw: Mapping[str, NDArray[np.float64]]
    critics: Mapping[str, Critic]


def score_critics(policy: CausalLMPolicy, evidence: Evidence, fit: Feedback, params: StackedParams) -> Scores:
    """Fit the parts once and make of them a critic of every kind. Sees: fit (`evidence` saw train).

    Raises:
        ModelError: as `StackedCritic.fit`.
    """
    parts = Parts.fit(policy, evidence, fit.befores, fit.proposals, fit.accepted_N, params)
    own = PolicyProbabilityCritic.fit(
        fit.befores, fit.proposals, fit.accepted_N, PolicyProbabilityParams(seed=params.seed)
    )
    generative = Calibration.fit(
        parts.generative_N, types_of(fit.proposals), fit.accepted_N, parts.fold_N, params.generative.calibration
    )
    return Scores(
        fit,
        parts.fold_N,
        {
            "policy_probability_head": log_odds(fit.proposals, "head"),
            "policy_probability_action": log_odds(fit.proposals, "action"),
            "generative": parts.generative_N,
            "evidence": parts.evidence_N,
            "stacked_regression": parts.by_regression(),
            "stacked_trees": parts.by_trees(params),
        },
        {
            own.kind: own,
            "generative": GenerativeCritic(policy, parts.verdict, generative),
            "evidence": BoostedCritic.fit_rows(evidence, parts.x_NF, fit.sessions, fit.accepted_N, params.evidence),
            "stacked": StackedCritic.of_parts(policy, evidence, parts, params),
        },
    )


def calibrated_across(scores: Scores, raw_N: NDArray[np.float64], params: CalibrationParams) -> NDArray[np.float64]:
    """`p_N`: each fold's rows by a calibration that was chosen and fitted on the other folds."""
    fit, type_N = scores.fit, types_of(scores.fit.proposals)
    p_N = np.empty(raw_N.size)
    for fold in np.unique(scores.fold_N):
        held = scores.fold_N == fold
        rest = ~held
        made = Calibration.fit(raw_N[rest], type_N[rest], fit.accepted_N[rest], scores.fold_N[rest], params)
        p_N[held] = made(raw_N[held], type_N[held])
    return p_N


def rank_and_calibration(scores: Scores, *, seed: int) -> dict[str, dict[str, Figure]]:
    """Figures of each kind with the calibration that `CALIBRATIONS` calls "by_action"; intervals by session bootstrap.

    Each row's map was chosen and fitted without its fold. The raw scores it was fitted on come from models that did
    see that fold, so what is seen twice is one map of a few numbers, never a ranking. "auroc_over_evidence": AUROC of
    raw scores less that of the evidence critic, on the same resamples.
    """
    right_N, session_of_N = scores.fit.accepted_N, scores.fit.sessions
    evidence_N = scores.raw["evidence"]
    found: dict[str, dict[str, Figure]] = {}
    for kind, raw_N in scores.raw.items():
        p_N = calibrated_across(scores, raw_N, CALIBRATIONS["by_action"])
        measures = {measure.__name__: partial(measure, p_N, right_N) for measure in (aurc, augrc, ece, brier)}
        gates = (gate_precision, gate_recall, gate_f1)
        measures |= {gate.__name__: partial(gate, p_N, right_N, threshold=_EVEN) for gate in gates}
        measures["auroc"] = partial(auroc, raw_N, right_N)
        measures["auroc_over_evidence"] = partial(_auroc_difference, raw_N, evidence_N, right_N)
        found[kind] = {name: statistic_interval(one, session_of_N, seed=seed) for name, one in measures.items()}
    return found


def calibrations(scores: Scores) -> dict[str, dict[str, dict[str, float]]]:
    """ECE, Brier score and log loss (nats a row) of each kind under each of `CALIBRATIONS`, as in the above."""
    right_N = scores.fit.accepted_N
    found: dict[str, dict[str, dict[str, float]]] = {}
    for kind, raw_N in scores.raw.items():
        found[kind] = {}
        for name, params in CALIBRATIONS.items():
            p_N = calibrated_across(scores, raw_N, params)
            loss = float(row_log_loss(p_N, right_N).mean())
            found[kind][name] = {"ece": ece(p_N, right_N), "brier": brier(p_N, right_N), "log_loss": loss}
    return found


def certified_across(
    critic: Critic, calibrate: Feedback, alphas: Sequence[float], params: CertificateParams, *, seed: int
) -> dict[str, dict[str, Figure | int]]:
    """What thresholds do that were certified on four fifths of the calibrate sessions, on the fifth left out.

    `coverage`: share of steps executed; `risk`: share of wrong ones among them; `refused`: folds without a certificate,
    which execute nothing. Sees: calibrate.
    """
    p_N = critic.p_accept(calibrate.befores, calibrate.proposals)
    wrong_N, session_of_N = ~calibrate.accepted_N, np.array(calibrate.sessions)
    fold_N, cuts_C = session_folds(calibrate.sessions, seed), critic.cuts(params.cuts)
    found: dict[str, dict[str, Figure | int]] = {}
    for alpha in alphas:
        executed_N, refused = np.zeros(wrong_N.size, dtype=bool), 0
        for fold in np.unique(fold_N):
            held_N = fold_N == fold
            rest = ScoredSteps(p_N[~held_N], wrong_N[~held_N], session_of_N[~held_N].tolist())
            threshold = step_bound(rest, alpha, params, cuts_C=cuts_C).threshold
            refused += threshold is None
            executed_N |= held_N & (threshold is not None and p_N >= threshold)
        found[alpha_key(alpha)] = {
            "coverage": share_interval(executed_N, session_of_N.tolist(), seed=seed),
            "risk": share_interval(executed_N & wrong_N, session_of_N.tolist(), of_N=executed_N, seed=seed),
            "refused": refused,
        }
    return found


def _auroc_difference(
    raw_N: NDArray[np.float64],
    other_N: NDArray[np.float64],
    right_N: NDArray[np.bool_],
    weight_N: NDArray[np.float64] | None = None,
) -> float:
    return auroc(raw_N, right_N, weight_N) - auroc(other_N, right_N, weight_N)
