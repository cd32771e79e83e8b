"""What recertification fixes before its first look, and all that it knows after the last."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from selective_autonomy.certify.betting import BETTORS, BOLD_SHARES, BOLDEST, halving_stakes, log_total
from selective_autonomy.certify.fixed_sequence import quantile_cuts
from selective_autonomy.certify.weights import SelectiveLabels
from selective_autonomy.errors import CertificateError
from selective_autonomy.frozen import Frozen
from selective_autonomy.params import CertificateParams

Capitals = tuple[tuple[float, ...], ...]


class RecertificationPlan(Frozen):
    """What is fixed before the first look: the cuts, the one that is tested first, and what stakes must allow for.

    Args:
        cuts: thresholds in [0, 1], strictest (highest) first. start: index of the cut that is tested first.
        most_steps: critical steps of a session at most. least_propensity: of being labelled, in (0, 1].
    """

    cuts: tuple[float, ...] = Field(min_length=1)
    start: int = Field(ge=0)
    most_steps: int = Field(gt=0)
    least_propensity: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _cuts_fall(self) -> RecertificationPlan:
        if not all(0 <= cut <= 1 for cut in self.cuts) or not bool(np.all(np.diff(self.cuts) < 0)):
            raise ValueError(f"cuts must fall strictly inside [0, 1]; got {self.cuts}")
        if self.start >= len(self.cuts):
            raise ValueError(f"start {self.start} is none of the {len(self.cuts)} cuts")
        return self

    @classmethod
    def fixed_by(
        cls,
        scores_N: ArrayLike,
        session_of_N: Sequence[str],
        params: CertificateParams,
        *,
        most_steps: int,
        least_propensity: float,
    ) -> RecertificationPlan:
        """A plan from scores alone, of sessions like those to come (the calibrate split's): no label is seen.

        Testing starts at the cut against which, by the critic's own word, capital grows fastest. A critic that is off
        costs coverage, not the promise.

        Raises:
            CertificateError: there is no score, or it is outside [0, 1].
        """
        scores = np.asarray(scores_N, dtype=np.float64)
        labels = SelectiveLabels.of(scores, np.zeros(scores.shape), np.ones(scores.shape), session_of_N)
        if not scores.size:
            raise CertificateError(
                "a plan needs scores to choose cuts from; got none: give those of the calibrate split"
            )
        cuts_C = quantile_cuts(scores, params.cuts)
        stakes_B = np.array(halving_stakes(BOLDEST / max(most_steps, labels.most_steps)))
        hoped_C = np.empty(cuts_C.size)
        for c, cut in enumerate(cuts_C):
            executed_S = np.bincount(labels.session_N[scores >= cut], minlength=labels.sessions)
            excess_S = executed_S * (1 - scores[scores >= cut].mean() - params.alpha)
            hoped_C[c] = log_total(np.log1p(-np.outer(excess_S, stakes_B)).sum(axis=0), BOLD_SHARES)
        start = int(np.flatnonzero(hoped_C == hoped_C.max())[-1])
        cuts = tuple(float(cut) for cut in cuts_C)
        return cls(cuts=cuts, start=start, most_steps=most_steps, least_propensity=least_propensity)


class RecertificationState(Frozen):
    """All that is known; survives a restart as JSON.

    `step_capitals`, `session_capitals`: nats, a row a cut, a number a bettor; `step_highest`, `session_highest`: nats,
    the most they had together; those of sessions are empty without alpha_session. `steps`, `sessions`: seen.
    `labelled`: of the steps; `labels_expected`, `labels_variance`: by their propensities. `executed`,
    `labelled_above`, `wrong`, `sessions_executed`, `sessions_lost`: at or above each cut. `digest`: sha256 over all
    that was observed, in its order.
    """

    plan: RecertificationPlan
    params: CertificateParams
    step_capitals: Capitals
    session_capitals: Capitals
    step_highest: tuple[float, ...]
    session_highest: tuple[float, ...]
    steps: int = Field(default=0, ge=0)
    sessions: int = Field(default=0, ge=0)
    labelled: int = Field(default=0, ge=0)
    labels_expected: float = Field(default=0.0, ge=0)
    labels_variance: float = Field(default=0.0, ge=0)
    executed: tuple[int, ...]
    labelled_above: tuple[int, ...]
    wrong: tuple[int, ...]
    sessions_executed: tuple[int, ...]
    sessions_lost: tuple[int, ...]
    digest: str = ""

    @classmethod
    def begun(cls, plan: RecertificationPlan, params: CertificateParams) -> RecertificationState:
        """Nothing observed, nothing certified."""
        count = len(plan.cuts)
        of_sessions = 0 if params.alpha_session is None else count
        none = (0,) * count
        return cls(
            plan=plan,
            params=params,
            step_capitals=((0.0,) * BETTORS,) * count,
            session_capitals=((0.0,) * BETTORS,) * of_sessions,
            step_highest=(0.0,) * count,
            session_highest=(0.0,) * of_sessions,
            executed=none,
            labelled_above=none,
            wrong=none,
            sessions_executed=none,
            sessions_lost=none,
        )

    @model_validator(mode="after")
    def _is_whole(self) -> RecertificationState:
        count = len(self.plan.cuts)
        counted = (self.executed, self.labelled_above, self.wrong, self.sessions_executed, self.sessions_lost)
        of_sessions = 0 if self.params.alpha_session is None else count
        lengths = [len(self.step_capitals), len(self.step_highest), *map(len, counted)]
        session_lengths = [len(self.session_capitals), len(self.session_highest)]
        capitals = [*self.step_capitals, *self.session_capitals]
        if (
            any(n != count for n in lengths)
            or any(n != of_sessions for n in session_lengths)
            or any(len(row) != BETTORS for row in capitals)
        ):
            raise ValueError(f"expected {BETTORS} capitals and one count of each kind for each of the {count} cuts")
        nats = [*self.step_highest, *self.session_highest, *(c for row in capitals for c in row)]
        if not all(map(math.isfinite, nats)):
            raise ValueError("capitals must be finite numbers")
        return self
