"""The replay evaluation of one process as one value: figures with intervals, and the table people read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selective_autonomy.certify.certificate import Bound, Certificate
from selective_autonomy.certify.certify import certify
from selective_autonomy.certify.sessions import certify_sessions
from selective_autonomy.evaluation.intervals import (
    Figure,
    binomial_interval,
    session_codes,
    share_interval,
    statistic_interval,
)
from selective_autonomy.evaluation.metrics import augrc, aurc, auroc, brier, ece, gate_f1, gate_precision, gate_recall
from selective_autonomy.frozen import Frozen
from selective_autonomy.params import CertificateParams

_EVEN = 0.5  # where accept and reject are equally likely: the threshold of a classifier


@dataclass(frozen=True)
class ScoredSteps:
    """Critical steps of one split with their scores: what is certified on, or measured on. Equally long columns.

    `procedures_N`: those open in each step's session; None: of no matter.
    """

    scores_N: NDArray[np.float64]
    wrong_N: NDArray[np.bool_]
    session_of_N: Sequence[str]
    procedures_N: Sequence[tuple[str, ...]] | None = None


class CertifiedFigures(Frozen):
    """A threshold certified on calibrate, and what it does on test. None where the certificate was refused.

    `coverage`: share of critical steps executed; `risk`: share of wrong ones among them; `session_risk`: share
    of sessions with a wrong executed step.
    """

    alpha: float
    threshold: float | None
    refusal: str | None
    labels_missing: int | None
    coverage: Figure | None
    risk: Figure | None
    session_risk: Figure | None


class EvaluationReport(Frozen):
    """Every dictionary is keyed by the name of a figure; `certified` and `certified_sessions` by alpha ("0.10")."""

    process_id: str
    loss: str
    sessions: int
    steps: int
    policy: dict[str, Figure]
    critic: dict[str, Figure]
    certified: dict[str, CertifiedFigures]
    certified_sessions: dict[str, CertifiedFigures]

    def markdown(self) -> str:
        """Two tables in GitHub's Markdown: figures, then certificates."""
        lines = ["| figure | value | 95 % interval | n |", "|---|---|---|---|"]
        for part, figures in (("policy", self.policy), ("critic", self.critic)):
            lines += [f"| {part}: {name} | {_cell(figure)} | {figure.n} |" for name, figure in figures.items()]
        lines += ["", "| promise | alpha | coverage | risk on test | refused |", "|---|---|---|---|---|"]
        for promise, by_alpha in (("steps", self.certified), ("sessions", self.certified_sessions)):
            for alpha, got in by_alpha.items():
                risk = got.risk if promise == "steps" else got.session_risk
                cells = ["0", "–"] if got.coverage is None or risk is None else [_short(got.coverage), _short(risk)]
                missing = f" (about {got.labels_missing} more labels)" if got.labels_missing is not None else ""
                refused = f"{got.refusal}{missing}" if got.refusal else ""
                lines.append(f"| {promise} | {alpha} | {cells[0]} | {cells[1]} | {refused} |")
        return "\n".join(lines) + "\n"


def evaluate_critic(
    test: ScoredSteps, p_head_N: ArrayLike, *, seed: int, certified_threshold: float | None = None
) -> dict[str, Figure]:
    """The critic beside the policy's own probability on the same steps. Intervals: session bootstrap.

    Precision, recall and F1 are of the gate: at 0.5, of both, and of the critic at the certified threshold if there is
    one ("gate_f1" and "gate_f1_certified").
    """
    p_head = np.asarray(p_head_N, dtype=np.float64)
    right_N = ~test.wrong_N
    figures = {}
    for gate in (gate_precision, gate_recall, gate_f1):
        asked = [("", test.scores_N, _EVEN), ("_policy_probability", p_head, _EVEN)]
        if certified_threshold is not None:
            asked.append(("_certified", test.scores_N, certified_threshold))
        for suffix, scores_N, threshold in asked:
            statistic = partial(gate, scores_N, right_N, threshold=threshold)
            figures[gate.__name__ + suffix] = statistic_interval(statistic, test.session_of_N, seed=seed)
    for measure in (auroc, ece, brier, aurc, augrc):
        for suffix, scores_N in (("", test.scores_N), ("_policy_probability", p_head)):
            statistic = partial(measure, scores_N, right_N)
            figures[measure.__name__ + suffix] = statistic_interval(statistic, test.session_of_N, seed=seed)
    return figures


def evaluate_threshold(
    test: ScoredSteps, threshold: float, *, seed: int, certificate: Certificate | None = None
) -> tuple[Figure, Figure, Figure]:
    """Coverage, risk among executed steps, and session risk of a threshold on test.

    `certificate`: what it does not cover defers, as at the gate; None: the threshold alone decides.
    """
    executed_N = test.scores_N >= threshold
    if certificate is not None and test.procedures_N is not None:
        executed_N &= np.array([certificate.covers(procedures) for procedures in test.procedures_N])
    session_N = session_codes(test.session_of_N)
    lost = np.unique(session_N[executed_N & test.wrong_N]).size
    return (
        share_interval(executed_N, test.session_of_N, seed=seed),
        share_interval(executed_N & test.wrong_N, test.session_of_N, of_N=executed_N, seed=seed),
        binomial_interval(int(lost), int(session_N.max()) + 1),
    )


def step_certificate(
    calibrate: ScoredSteps, alpha: float, params: CertificateParams, *, cuts_C: ArrayLike | None = None
) -> Certificate:
    """The step promise at `alpha` by itself, at the full delta. Sees: calibrate."""
    opened = calibrate.procedures_N
    return certify(
        calibrate.scores_N,
        calibrate.wrong_N,
        calibrate.session_of_N,
        params.model_copy(update={"alpha": alpha, "alpha_session": None}),
        process_id="",
        loss="",
        splits={},
        policy_digest="",
        critic_digest="",
        cuts_C=cuts_C,
        procedures_of=None if opened is None else dict(zip(calibrate.session_of_N, opened, strict=True)),
    )


def step_bound(
    calibrate: ScoredSteps, alpha: float, params: CertificateParams, *, cuts_C: ArrayLike | None = None
) -> Bound:
    """What `step_certificate` promises, or its refusal. Sees: calibrate."""
    return step_certificate(calibrate, alpha, params, cuts_C=cuts_C).slices[0].alone


def certified_by_alpha(
    calibrate: ScoredSteps,
    test: ScoredSteps,
    alphas: Sequence[float],
    params: CertificateParams,
    *,
    seed: int,
    cuts_C: ArrayLike | None = None,
) -> tuple[dict[str, CertifiedFigures], dict[str, CertifiedFigures]]:
    """For each alpha alone, at the full delta: the step certificate and the session certificate, measured on test.

    The thresholds are chosen on calibrate; test is only measured. Each promise holds for itself, not all at once. As at
    the gate, test sessions with a procedure open that no calibrate session had open execute nothing.
    """
    steps_by: dict[str, CertifiedFigures] = {}
    sessions_by: dict[str, CertifiedFigures] = {}
    session_N = session_codes(calibrate.session_of_N)
    for alpha in alphas:
        certificate = step_certificate(calibrate, alpha, params, cuts_C=cuts_C)
        step = certificate.slices[0].alone
        session = certify_sessions(calibrate.scores_N, calibrate.wrong_N, session_N, alpha, params.delta)
        for by_alpha, bound in ((steps_by, step), (sessions_by, session)):
            measured = None
            if bound.threshold is not None:
                measured = evaluate_threshold(test, bound.threshold, seed=seed, certificate=certificate)
            by_alpha[alpha_key(alpha)] = CertifiedFigures(
                alpha=alpha,
                threshold=bound.threshold,
                refusal=bound.refusal,
                labels_missing=bound.labels_missing,
                coverage=measured[0] if measured else None,
                risk=measured[1] if measured else None,
                session_risk=measured[2] if measured else None,
            )
    return steps_by, sessions_by


def alpha_key(alpha: float) -> str:
    """The key of an alpha: two digits after the point, more where it needs them ("0.10", "0.005")."""
    return f"{alpha:.2f}" if round(alpha, 2) == alpha else f"{alpha:g}"


def _cell(figure: Figure) -> str:
    return f"{figure.value:.3f} | {figure.low:.3f} – {figure.high:.3f}"


def _short(figure: Figure) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} – {figure.high:.3f})"
