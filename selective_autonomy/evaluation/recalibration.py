"""Sixty days after go-live: the threshold is chosen anew every day, from labels that the gate itself made scarce.

On a simulated critic the truth is known, so broken promises can be counted on every day (`make bench-golive` counts
them again). Three ways to choose:

    weighted       `certify.recertification`: audits of executed steps with their propensity
    undisputed     an executed step that nobody audited counts as right ("it was not reversed")
    labelled       the steps that have a label, unweighted: mostly those that were deferred

The latter two take the certificate's own test, with propensity 1 for every step they count, and so differ in the
labels alone.

60 days of 40 sessions (1 to 9 steps, correlation 0.3), delta 0.05, 200 seeds of `weighted` and 50 of the others: share
of seeds that broke the promise on any day; mean coverage after 10, 30 and 60 days; audits a day from day 31 on. The
oracle covers 0.98 at alpha 0.10 and 0.82 at 0.05.

                          alpha 0.10                               alpha 0.05
    weighted, all         0.00   0.90 / 0.94 / 0.94   188          0.00   0.25 / 0.73 / 0.76   149
    weighted, 20 %        0.00   0.85 / 0.89 / 0.90    36          0.00   0.25 / 0.67 / 0.69    27
    weighted, 5 %         0.00   0.85 / 0.87 / 0.88     9          0.01   0.25 / 0.66 / 0.67     7
    undisputed, 20 %      1.00   0.96 / 1.00 / 1.00    40          1.00   0.23 / 0.84 / 0.90    35
    labelled, 20 %        0.00   0.82 / 0.84 / 0.85    34          0.00   0.21 / 0.64 / 0.65    26
    labelled, 5 %         0.00   0.79 / 0.80 / 0.80     8          0.00   0.21 / 0.61 / 0.62     6
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.certify.recertification import Recertification
from selective_autonomy.certify.recertification_state import RecertificationPlan, RecertificationState
from selective_autonomy.certify.weights import SelectiveLabels
from selective_autonomy.evaluation.simulated_critic import SimulatedCritic
from selective_autonomy.keyed_draw import drawn
from selective_autonomy.params import CertificateParams

LabelUse = Literal["weighted", "undisputed", "labelled"]
MOST_STEPS = 9


@dataclass(frozen=True)
class RecalibratedDays:
    """What stood at the end of each day: coverage (0 where nothing was certified) and true risk (0 likewise)."""

    coverage_D: NDArray[np.float64]
    risk_D: NDArray[np.float64]
    audited_D: NDArray[np.int64]

    def is_broken(self, alpha: float) -> bool:
        """Whether the true risk exceeded alpha on any day."""
        return bool((self.risk_D > alpha).any())


def recalibrate_daily(
    critic: SimulatedCritic,
    params: CertificateParams,
    *,
    audit_rate: float,
    seed: int,
    use: LabelUse = "weighted",
    days: int = 60,
    sessions_a_day: int = 40,
    correlation: float = 0.3,
) -> RecalibratedDays:
    """Serve, audit and recertify day after day, from nothing certified on.

    A day's sessions are gated at the threshold of the evening before: what clears it executes and is audited by a keyed
    draw at `audit_rate`, what does not is deferred and labelled. The plan comes from the scores of 500 sessions before.

    Args:
        params: `alpha_session` must be None, for only the step risk of this critic is known.
        seed: of everything drawn, the audit key included.
    """
    rng = np.random.default_rng(seed)
    key = rng.bytes(32)
    scores_N, _, session_N = critic.draw_sessions(500, rng, correlation=correlation, most_steps=MOST_STEPS)
    names = [str(s) for s in session_N]
    least = audit_rate if use == "weighted" else 1.0
    plan = RecertificationPlan.fixed_by(scores_N, names, params, most_steps=MOST_STEPS, least_propensity=least)
    recertification = Recertification(RecertificationState.begun(plan, params))
    coverage_D, risk_D, audited_D = np.zeros(days), np.zeros(days), np.zeros(days, dtype=np.int64)
    for day in range(days):
        scores_N, wrong_N, session_N = critic.draw_sessions(
            sessions_a_day, rng, correlation=correlation, most_steps=MOST_STEPS
        )
        names = [f"{day}-{s}" for s in session_N]
        threshold = recertification.threshold
        executed_N = np.zeros(scores_N.shape, dtype=bool) if threshold is None else scores_N >= threshold
        drawn_N = np.array(
            [
                executed and drawn(key, "audit", name, str(n), rate=audit_rate)
                for n, (name, executed) in enumerate(zip(names, executed_N, strict=True))
            ],
            dtype=bool,
        )
        recertification.observe(
            _labels(use, scores_N, wrong_N, names, executed_N, drawn_N, audit_rate),
            least_propensity=1.0 if threshold is None else least,
        )
        audited_D[day] = drawn_N.sum()
        if recertification.threshold is not None:
            coverage_D[day] = critic.coverage(recertification.threshold)
            risk_D[day] = critic.risk(recertification.threshold)
    return RecalibratedDays(coverage_D, risk_D, audited_D)


def _labels(
    use: LabelUse,
    scores_N: NDArray[np.float64],
    wrong_N: NDArray[np.bool_],
    names: list[str],
    executed_N: NDArray[np.bool_],
    drawn_N: NDArray[np.bool_],
    audit_rate: float,
) -> SelectiveLabels:
    known_N = ~executed_N | drawn_N
    if use == "weighted":
        propensities_N = np.where(executed_N, audit_rate, 1.0)
        return SelectiveLabels.of(scores_N, np.where(known_N, wrong_N, np.nan), propensities_N, names)
    if use == "undisputed":
        return SelectiveLabels.of(scores_N, wrong_N & known_N, np.ones(scores_N.size), names)
    kept = [name for name, known in zip(names, known_N, strict=True) if known]
    return SelectiveLabels.of(scores_N[known_N], wrong_N[known_N], np.ones(len(kept)), kept)
