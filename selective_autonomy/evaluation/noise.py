"""The experiment on noisy feedback: corrupt the verdicts, learn and certify on them, and look at the truth.

Three rules see the same corrupted verdicts of the same sessions:

naive                    the lowest threshold whose error among the calibrate verdicts is at most alpha
certificate              the certified threshold on the verdicts as they are
certificate_noise_model  critic and certificate on confirmed errors, with probes (`certify.label_noise`)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.certify.certificate import Certificate
from selective_autonomy.certify.certify import certify
from selective_autonomy.certify.label_noise import Sensitivity, confirmed_wrong, sensitivity_of
from selective_autonomy.critic.boosted import BoostedCritic
from selective_autonomy.critic.evidence import Evidence
from selective_autonomy.errors import CertificateError, ModelError
from selective_autonomy.evaluation.corruptions import Corruption, Verdicts
from selective_autonomy.params import CertificateParams, EvidenceParams
from selective_autonomy.process.actions import ACTION_TYPES

Rule = Literal["naive", "certificate", "certificate_noise_model"]
LOSSES: dict[Rule, str] = {
    "naive": "",
    "certificate": "the operator rejected the proposal",
    "certificate_noise_model": "the operator rejected the proposal and an adjudicator confirmed that it is wrong",
}
RULES: tuple[Rule, ...] = ("naive", "certificate", "certificate_noise_model")


@dataclass(frozen=True)
class Pool:
    """Judged critical steps with their truth, and how long people took. Rows of a session stand in order.

    Args:
        x_NF: evidence rows. session_of_N: session ids. seconds_N: of the operator on the step.
        human_seconds: session id -> operator seconds on the whole session, steps that nobody gates included.
        handover_seconds: once a session, where a person has to find into a case that ran on by itself.
    """

    evidence: Evidence
    x_NF: NDArray[np.float64]
    verdicts: Verdicts
    session_of_N: NDArray[np.str_]
    seconds_N: NDArray[np.float64]
    human_seconds: Mapping[str, float]
    handover_seconds: float


@dataclass(frozen=True)
class Draw:
    """Session ids of one draw: what the critic learns from, what is certified on, what is measured on."""

    fit: frozenset[str]
    calibrate: frozenset[str]
    test: frozenset[str]


@dataclass(frozen=True)
class Learned:
    """What a rule made of the verdicts: a critic, and the threshold to rely on (None: refused).

    `certificate`: what was issued; the naive rule has none.
    """

    critic: BoostedCritic
    threshold: float | None
    certificate: Certificate | None = None
    adjudicated: int = 0
    sensitivity: Sensitivity | None = None


@dataclass(frozen=True)
class Done:
    """What a threshold does on the test sessions. Shares are in [0, 1].

    `true_risk`: truly wrong among executed steps; `session_risk`: sessions with such a step; `active_seconds_change`:
    relative to the stage the pool was judged in: an executed step costs nothing, a deferred one what it took there.
    """

    step_coverage: float
    session_coverage: float
    true_risk: float
    session_risk: float
    active_seconds_change: float


def rows_of(pool: Pool, sessions: frozenset[str]) -> NDArray[np.bool_]:
    """Which rows belong to these sessions."""
    return np.isin(pool.session_of_N, sorted(sessions))


def corrupted(pool: Pool, corruption: Corruption, rate: float, seed: int) -> Pool:
    """The pool with worse verdicts. Deterministic in the seed."""
    rejected_N = corruption(pool.verdicts, rate, np.random.default_rng([seed, 1]))
    return replace(pool, verdicts=replace(pool.verdicts, rejected_N=rejected_N))


def learn(
    pool: Pool,
    draw: Draw,
    rule: Rule,
    promise: CertificateParams,
    critic_params: EvidenceParams,
    *,
    probes: int,
    seed: int,
    critic: BoostedCritic | None = None,
) -> Learned:
    """Fit a critic and choose a threshold, from fit and calibrate alone.

    The noise model adjudicates every rejected step of fit and calibrate, and plants `probes` wrong steps of fit among
    the same operators' work; what they said of them shows what they overlook. Its critic does not know who is asked.

    Args:
        critic: one fitted on the same verdicts, if there is one.

    Raises:
        ModelError: the verdicts of fit are all alike, so no critic can be learned.
    """
    fit_N, calibrate_N = rows_of(pool, draw.fit), rows_of(pool, draw.calibrate)
    rejected_N, wrong_N = pool.verdicts.rejected_N, pool.verdicts.wrong_N
    counted_N = rejected_N
    adjudicated, sensitivity = 0, None
    if rule == "certificate_noise_model":
        looked_at_N = np.where(rejected_N & (fit_N | calibrate_N), wrong_N.astype(np.float64), np.nan)
        counted_N = np.zeros_like(rejected_N)
        both_N = fit_N | calibrate_N
        counted_N[both_N] = confirmed_wrong(rejected_N[both_N], looked_at_N[both_N])
        adjudicated = int((~np.isnan(looked_at_N)).sum())
        sensitivity = _plant(fit_N, pool.verdicts, probes, seed)
        # Nobody may learn whose errors pass: probes measure the average operator.
        critic_params = critic_params.model_copy(update={"operator_habits": False})
    if critic is None:
        fitted_on = pool.session_of_N[fit_N].tolist()
        critic = BoostedCritic.fit_rows(pool.evidence, pool.x_NF[fit_N], fitted_on, ~counted_N[fit_N], critic_params)
    scores_N = critic.p_accept_rows(pool.x_NF[calibrate_N])
    sessions, errors_N = pool.session_of_N[calibrate_N], counted_N[calibrate_N]
    if rule == "naive":
        return Learned(critic, naive_threshold(scores_N, errors_N, sessions, promise))
    try:
        issued = certify(
            scores_N,
            errors_N,
            sessions.tolist(),
            promise,
            process_id="",
            loss=LOSSES[rule],
            splits={},
            policy_digest="",
            critic_digest="",
            cuts_C=critic.cuts(promise.cuts),
            sensitivity=sensitivity,
        )
    except CertificateError:
        if sensitivity is None or sensitivity.caught:
            raise
        return Learned(critic, None, None, adjudicated, sensitivity)  # nothing is known of what is overlooked
    return Learned(critic, issued.threshold, issued, adjudicated, sensitivity)


def naive_threshold(
    scores_N: NDArray[np.float64], errors_N: NDArray[np.bool_], sessions_N: NDArray[np.str_], promise: CertificateParams
) -> float | None:
    """The lowest threshold whose error share on these labels keeps every promise asked for. No guarantee."""
    order = np.argsort(-scores_N, kind="stable")
    share_N = np.cumsum(errors_N[order]) / np.arange(1, scores_N.size + 1)
    keeps_N = share_N <= promise.alpha
    if promise.alpha_session is not None:
        codes = np.unique(sessions_N, return_inverse=True)[1]
        first_N = np.zeros(scores_N.size, dtype=bool)
        lost: set[int] = set()
        for place, row in enumerate(order):
            if errors_N[row] and codes[row] not in lost:
                lost.add(int(codes[row]))
                first_N[place] = True
        keeps_N &= np.cumsum(first_N) / (int(codes.max()) + 1) <= promise.alpha_session
    passing = np.flatnonzero(keeps_N)
    return float(scores_N[order[passing[-1]]]) if passing.size else None


def measure(pool: Pool, draw: Draw, learned: Learned) -> Done:
    """The truth about a threshold on the test sessions; nothing executes where there is none."""
    test_N = rows_of(pool, draw.test)
    sessions_N, wrong_N, seconds_N = pool.session_of_N[test_N], pool.verdicts.wrong_N[test_N], pool.seconds_N[test_N]
    executed_N = np.zeros(sessions_N.size, dtype=bool)
    if learned.threshold is not None:
        executed_N = learned.critic.p_accept_rows(pool.x_NF[test_N]) >= learned.threshold
    names, codes = np.unique(sessions_N, return_inverse=True)
    deferred_S = np.bincount(codes, weights=~executed_N, minlength=names.size)
    lost_S = np.bincount(codes, weights=executed_N & wrong_N, minlength=names.size) > 0
    human = float(sum(pool.human_seconds[name] for name in names))
    if learned.threshold is None:  # nothing runs by itself, routine steps neither
        return Done(0.0, 0.0, 0.0, 0.0, 0.0)
    # A person who is called after something ran by itself has to find into the case, once.
    first_deferral = {name: i for i, name in reversed(list(enumerate(sessions_N.tolist()))) if not executed_N[i]}
    ran_before = {name for i, name in enumerate(sessions_N.tolist()) if executed_N[i]}
    handovers = sum(1 for name in first_deferral if name in ran_before)
    active = float(seconds_N[~executed_N].sum()) + pool.handover_seconds * handovers
    return Done(
        step_coverage=float(executed_N.mean()),
        session_coverage=float((deferred_S == 0).mean()),
        true_risk=float((executed_N & wrong_N).sum() / max(int(executed_N.sum()), 1)),
        session_risk=float(lost_S.mean()),
        active_seconds_change=active / human - 1,
    )


def run_cell(
    pool: Pool,
    draw: Draw,
    corruption: Corruption,
    rate: float,
    promise: CertificateParams,
    critic_params: EvidenceParams,
    *,
    probes: int,
    seed: int,
) -> dict[Rule, tuple[Learned | None, Done]]:
    """Every rule on one draw of corrupted verdicts. A critic that cannot be learned executes nothing."""
    noisy = corrupted(pool, corruption, rate, seed)
    found: dict[Rule, tuple[Learned | None, Done]] = {}
    on_verdicts: BoostedCritic | None = None
    for rule in RULES:
        shared = None if rule == "certificate_noise_model" else on_verdicts
        try:
            learned = learn(noisy, draw, rule, promise, critic_params, probes=probes, seed=seed, critic=shared)
        except ModelError:
            found[rule] = (None, Done(0.0, 0.0, 0.0, 0.0, 0.0))
            continue
        if rule == "naive":
            on_verdicts = learned.critic
        found[rule] = (learned, measure(noisy, draw, learned))
    return found


def _plant(fit_N: NDArray[np.bool_], verdicts: Verdicts, probes: int, seed: int) -> Sensitivity:
    wrong = np.flatnonzero(fit_N & verdicts.wrong_N)
    chosen = np.random.default_rng([seed, 2]).permutation(wrong)[:probes]
    return sensitivity_of([ACTION_TYPES[kind] for kind in verdicts.kind_N[chosen]], verdicts.rejected_N[chosen])
