"""The threshold chosen anew while the gate is open: after every day, from selective labels, as often as one likes.

    plan = RecertificationPlan.fixed_by(scores_N, session_of_N, params, most_steps=12, least_propensity=0.2)
    recertification = Recertification(RecertificationState.begun(plan, params))
    recertification.observe(labels_of_the_day)        # every day
    recertification.threshold                         # None: everything defers

Evidence adds up: a day's sessions multiply the capitals of the bettors (`certify.weights`), 8 for each cut, and are no
longer needed then. The state is JSON of a few kilobytes; adding a day takes time in proportion to that day alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.certify.betting import BOLD_SHARES, log_total
from selective_autonomy.certify.binomial import fewest_labels
from selective_autonomy.certify.certificate import Bound, Certificate, Slice
from selective_autonomy.certify.fixed_sequence import passed_both_ways, passed_in_order
from selective_autonomy.certify.recertification_state import Capitals, RecertificationState
from selective_autonomy.certify.weights import (
    SelectiveLabels,
    session_log_factors,
    session_stakes,
    step_log_factors,
    step_stakes,
)
from selective_autonomy.errors import CertificateError
from selective_autonomy.process.actions import ACTION_TYPES

_MOST_COPIES = 256  # the longest look ahead for labels missing: this many times the evidence at hand
_FEWER_LABELS = 6.0  # standard deviations below what is expected: once in a billion looks by chance


class Recertification:
    """Adds up evidence and says at every moment which threshold stands.

    Guarantee: with probability at least 1 - delta, at *no* moment does `threshold` stand at a cut whose step risk
    exceeds alpha, nor (with alpha_session) whose session risk exceeds alpha_session; delta is shared equally by the
    two. At every sample size and whatever the dependence inside sessions.
    Why: each cut has a capital that reaches 1 / delta ever with probability at most delta if its risk is above alpha,
    and cuts are believed in the plan's order only, up to the first that is not (`certify.fixed_sequence`); so that a
    false promise needs the first false cut to be believed, now or on any other day. A cut that was believed stays so
    until later evidence has taken all that its bettors won, which only lessens what is promised: waiting for 1 / delta
    anew each day costs 13 points of coverage with audits of 5 % (the simulation of `evaluation.recalibration`, alpha
    0.05, day 60).
    Assumptions: which side of alpha the risk above a cut is on does not change while evidence is added, nor with what
    else ran by itself (`certify.monitor` watches that); labels are drawn with the propensities given, independently
    given the session, and are right; the plan was fixed before any of these labels. One policy and one critic: another
    one begins anew.
    Sees: calibrate, then everything logged since go-live. Each session once, whole.
    """

    def __init__(self, state: RecertificationState) -> None:
        """`state`: a `RecertificationState.begun`, or one that was kept."""
        self._state = state
        self._delta: float = state.params.delta / (1 if state.params.alpha_session is None else 2)

    @property
    def state(self) -> RecertificationState:
        return self._state

    def observe(self, labels: SelectiveLabels, *, least_propensity: float | None = None) -> None:
        """Add sessions that ended: each is given once, with all its critical steps, executed or not.

        A step that was drawn and never answered is no step that was not drawn: give it as wrong.

        Args:
            least_propensity: that any step of these sessions could have had, known before they began: 1 while nothing
                may execute. The larger, the bolder the stakes. None: the plan's.

        Raises:
            CertificateError: a session has more steps, or a step a smaller propensity, than the plan allows for; or far
                fewer steps are labelled than their propensities say. Nothing is added then.
        """
        state, plan, params = self._state, self._state.plan, self._state.params
        least = plan.least_propensity if least_propensity is None else least_propensity
        labels.check_within(plan.most_steps, least)
        step_stakes_B, session_stakes_B = step_stakes(plan.most_steps, least), session_stakes(least)
        labelled = state.labelled + int(labels.labelled_N.sum())
        expected = state.labels_expected + float(labels.propensities_N.sum())
        variance = state.labels_variance + float((labels.propensities_N * (1 - labels.propensities_N)).sum())
        if expected - labelled > _FEWER_LABELS * (1 + math.sqrt(variance)):
            raise CertificateError(
                f"{labelled} steps are labelled where their propensities let expect {expected:.0f}; audits that were "
                "drawn are missing: wait for their answers, or give them as wrong"
            )
        step_CB, session_CB = np.array(state.step_capitals), np.array(state.session_capitals)
        counts = np.array(
            [state.executed, state.labelled_above, state.wrong, state.sessions_executed, state.sessions_lost]
        )
        for c, cut in enumerate(plan.cuts):
            above_N = labels.scores_N >= cut
            bad_N = above_N & labels.wrong_N
            step_CB[c] += step_log_factors(labels, above_N, params.alpha, step_stakes_B).sum(axis=0)
            if params.alpha_session is not None:
                factors_SB = session_log_factors(labels, above_N, params.alpha_session, session_stakes_B)
                session_CB[c] += factors_SB.sum(axis=0)
            counts[:, c] += (
                above_N.sum(),
                (above_N & labels.labelled_N).sum(),
                bad_N.sum(),
                np.unique(labels.session_N[above_N]).size,
                np.unique(labels.session_N[bad_N]).size,
            )
        executed, labelled_above, wrong, sessions_executed, sessions_lost = (tuple(row) for row in counts.tolist())
        self._state = state.model_copy(
            update={
                "step_capitals": tuple(tuple(row) for row in step_CB.tolist()),
                "session_capitals": tuple(tuple(row) for row in session_CB.tolist()),
                "step_highest": _highest(state.step_highest, step_CB),
                "session_highest": _highest(state.session_highest, session_CB),
                "steps": state.steps + labels.scores_N.size,
                "sessions": state.sessions + labels.sessions,
                "labelled": labelled,
                "labels_expected": expected,
                "labels_variance": variance,
                "executed": executed,
                "labelled_above": labelled_above,
                "wrong": wrong,
                "sessions_executed": sessions_executed,
                "sessions_lost": sessions_lost,
                "digest": _digest_after(state.digest, labels),
            }
        )

    @property
    def threshold(self) -> float | None:
        """The lowest cut at which all that was asked for is promised; None: nothing may execute."""
        cut = self._last_cut()
        return None if cut is None else self._state.plan.cuts[cut]

    def certificate(
        self,
        *,
        process_id: str,
        loss: str,
        splits: dict[str, str],
        policy_digest: str,
        critic_digest: str,
        procedures: Collection[str] | None = None,
    ) -> Certificate:
        """What is promised now, or the refusal. `upper` is alpha itself: no tighter limit is kept than what was tested.

        `n`: labelled steps, or sessions. `n_executed`, `n_wrong`: labelled ones above the threshold, unweighted.
        `procedures`: those that the sessions observed had open; None: it is taken to be about all.
        """
        params = self._state.params
        passed, last = self._step_cuts(), self._last_cut()
        alone = self._step_bound(passed[-1] if passed else None)
        in_force = alone if last is None else self._step_bound(last)
        whole = Slice(name=f"alpha {params.alpha:g}", action_types=ACTION_TYPES, alone=alone, step=in_force)
        return Certificate(
            process_id=process_id,
            loss=loss,
            slices=(whole,),
            session=None if params.alpha_session is None else self._session_bound(params.alpha_session),
            procedures=None if procedures is None else tuple(sorted(set(procedures))),
            splits=dict(splits),
            policy_digest=policy_digest,
            critic_digest=critic_digest,
            scores_digest=self._state.digest,
            assumptions=(
                "the risk above a cut stays on one side of alpha, whatever else runs by itself",
                f"no session has more than {self._state.plan.most_steps} critical steps",
                "steps are labelled with the logged propensities, drawn by a key; a label is right",
                "cuts and their order were fixed before any of the labels",
                "valid at every moment: may be made anew from more evidence as often as wanted",
            ),
        )

    def _step_cuts(self) -> list[int]:
        """The cuts whose step risk is promised. Stricter ones than the start are needed for sessions only."""
        plan, both_ways = self._state.plan, self._state.params.alpha_session is not None
        delta_C = np.full(len(plan.cuts), self._delta / 2 if both_ways else self._delta)
        delta_C[plan.start] = self._delta
        unproven_C = _unproven(self._state.step_capitals, self._state.step_highest, delta_C)
        passed = passed_both_ways if both_ways else passed_in_order
        return passed(unproven_C, plan.start, 0.5)

    def _session_cuts(self) -> list[int]:
        """The cuts whose session risk is promised, from the strictest on: it can only grow as the cut falls."""
        delta_C = np.full(len(self._state.plan.cuts), self._delta)
        return passed_in_order(_unproven(self._state.session_capitals, self._state.session_highest, delta_C), 0, 0.5)

    def _last_cut(self) -> int | None:
        cuts = set(self._step_cuts())
        if self._state.params.alpha_session is not None:
            cuts &= set(self._session_cuts())
        return max(cuts, default=None)

    def _step_bound(self, last: int | None) -> Bound:
        state = self._state
        counts = state.labelled, state.labelled_above, state.wrong
        return self._bound("step", state.params.alpha, last, counts, state.step_capitals)

    def _session_bound(self, alpha: float) -> Bound:
        state = self._state
        counts = state.sessions, state.sessions_executed, state.sessions_lost
        return self._bound("session", alpha, self._last_cut(), counts, state.session_capitals)

    def _bound(
        self,
        unit: Literal["step", "session"],
        alpha: float,
        last: int | None,
        counts: tuple[int, tuple[int, ...], tuple[int, ...]],
        capitals: Capitals,
    ) -> Bound:
        state, (n, above_C, wrong_C) = self._state, counts
        refused = last is None
        missing = self._missing(capitals[state.plan.start], alpha, n) if last is None else None
        refusal: Literal["too_few_labels", "error_too_high"] = "error_too_high" if missing is None else "too_few_labels"
        return Bound(
            unit=unit,
            method=f"fixed_sequence_weighted_betting_{unit}s",
            alpha=alpha,
            delta=self._delta,
            threshold=None if last is None else state.plan.cuts[last],
            n=n,
            n_executed=0 if last is None else above_C[last],
            n_wrong=0 if last is None else wrong_C[last],
            upper=None if refused else alpha,
            coverage=0.0 if last is None else state.executed[last] / state.steps,
            refusal=refusal if refused else None,
            labels_missing=missing,
        )

    def _missing(self, log_capitals: tuple[float, ...], alpha: float, n: int) -> int | None:
        """About how many more units like those seen until the first cut is believed; None: no number would do."""
        if n == 0:
            return fewest_labels(0.0, alpha, self._delta)
        enough, log_capitals_B = 1.0, np.array(log_capitals)
        while log_total(enough * log_capitals_B, BOLD_SHARES) < -math.log(self._delta):
            enough *= 1.02
            if enough > _MOST_COPIES:
                return None
        return max(round((enough - 1) * n), 1)


def _highest(before_C: tuple[float, ...], log_capitals_CB: NDArray[np.float64]) -> tuple[float, ...]:
    """The most that the bettors of each cut ever had together, looked at once an `observe`."""
    if not before_C:
        return ()
    return tuple(np.maximum(before_C, log_total(log_capitals_CB, BOLD_SHARES)).tolist())


def _unproven(capitals: Capitals, highest_C: tuple[float, ...], delta_C: NDArray[np.float64]) -> NDArray[np.float64]:
    """0.0 where a cut's promise is believed, 1.0 where not: as limits for a fixed sequence."""
    kept_C = log_total(np.array(capitals), BOLD_SHARES) >= 0
    return np.where((np.array(highest_C) >= -np.log(delta_C)) & kept_C, 0.0, 1.0)


def _digest_after(digest: str, labels: SelectiveLabels) -> str:
    """sha256 over what was observed before and these rows: score, label, propensity, session."""
    after = hashlib.sha256(digest.encode())
    shown_N = np.where(labels.labelled_N, labels.wrong_N, -1)
    for column in (
        labels.scores_N.astype("<f8"),
        shown_N.astype("<i1"),
        labels.propensities_N.astype("<f8"),
        labels.session_N.astype("<i8"),
    ):
        after.update(column.tobytes())
    return after.hexdigest()
