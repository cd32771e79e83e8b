"""Certificates from selective labels: what is known of executed steps comes from audits of known probability.

A deferred step is always labelled (propensity 1), an executed one only if it was drawn (`certify.audit`). A wrong step
that was seen stands for 1 / propensity wrong ones. Sessions are the independent unit, so that steps of one session may
depend on each other in any way; the draws are independent by their key, given everything else.

The bet on a session. Let X be its executed steps, W the wrong ones among them, s a stake. Against "E[W - r X] >= 0",
that is a risk of at least r, any L >= 0 with E[L] <= 1 - s W given the session may be multiplied in as L + s r X. Two
that know only the audits, V the audited wrong steps with propensity p:

    1 - s sum_V 1 / p                                  the plain weighted count
    prod_V (1 - t / p),  (1 - t)^X = 1 - s X           its mean given the session is (1 - t)^W, convex in W

The plain count may take more than all that a bettor has unless s is below the least propensity / X; the product only
asks that t is below it. So it stakes about X times more, and is taken wherever the count could ruin a bettor. Both
promise the same; a session whose steps are all labelled takes the count, which then is that of `betting_upper`.

Coverage certified after 1000 sessions of 1 to 9 steps (correlation 0.3) at alpha 0.10 with audits of 20 % and 5 %: 0.85
and 0.47 so; with the plain count alone 0.73 and 0.00; with bets on audited right steps 0.05 and 0.00. Setting the
critic's expectation off against the audits (a control variate) moved it by -2 to +5 points, 1 on average: left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selective_autonomy.certify.betting import BOLD_SHARES, BOLDEST, halving_stakes, log_total
from selective_autonomy.certify.binomial import check_share
from selective_autonomy.errors import CertificateError


@dataclass(frozen=True)
class SelectiveLabels:
    """Critical steps of whole sessions, some of them labelled. Made by `of`, which checks them.

    Args:
        wrong_N: labelled, and wrong. labelled_N: whether right or wrong is known.
        propensities_N: the chance that the step had to be labelled, in (0, 1].
        session_N: codes in 0..S-1, in order of first appearance. S: `sessions`.
    """

    scores_N: NDArray[np.float64]
    wrong_N: NDArray[np.bool_]
    labelled_N: NDArray[np.bool_]
    propensities_N: NDArray[np.float64]
    session_N: NDArray[np.int64]
    sessions: int

    @classmethod
    def of(
        cls,
        scores_N: ArrayLike,
        wrong_N: ArrayLike,
        propensities_N: ArrayLike,
        session_of_N: Sequence[str],
    ) -> SelectiveLabels:
        """Check and code what was logged.

        Args:
            scores_N: `p_accept`, in [0, 1]. wrong_N: 0, 1, or NaN where the step was not drawn to be labelled.
            propensities_N: of every step, drawn or not; 1 for one that is always labelled.

        Raises:
            CertificateError: lengths differ, a score, label or propensity is out of range, or a label is missing where
                the propensity says that there is one.
        """
        scores, labels, propensities = (np.asarray(a, dtype=np.float64) for a in (scores_N, wrong_N, propensities_N))
        if scores.ndim != 1 or not scores.shape == labels.shape == propensities.shape == (len(session_of_N),):
            raise CertificateError(
                "scores, labels, propensities and session ids must be one-dimensional and equally long; got "
                f"{scores.shape}, {labels.shape}, {propensities.shape}, {len(session_of_N)}"
            )
        labelled = ~np.isnan(labels)
        for what, sound_N, values_N, expected in (
            ("score", (scores >= 0) & (scores <= 1), scores, "a number in [0, 1]"),
            ("propensity", (propensities > 0) & (propensities <= 1), propensities, "a number in (0, 1]"),
            ("label", ~labelled | (labels == 0) | (labels == 1), labels, "0 (right), 1 (wrong) or NaN (not labelled)"),
            ("label", labelled | (propensities < 1), labels, "0 or 1, for its propensity is 1; log how it was drawn"),
        ):
            if not sound_N.all():
                bad = int(np.flatnonzero(~sound_N)[0])
                raise CertificateError(f"{what} {bad} is {values_N[bad]!r}; expected {expected}")
        code: dict[str, int] = {}
        session = np.fromiter((code.setdefault(s, len(code)) for s in session_of_N), np.int64, scores.size)
        return cls(scores, labels == 1, labelled, propensities, session, len(code))

    @property
    def most_steps(self) -> int:
        """Of any one session; 0 where there is none."""
        return int(np.bincount(self.session_N).max()) if self.sessions else 0

    @property
    def least_propensity(self) -> float:
        return float(self.propensities_N.min(initial=1.0))

    def check_within(self, most_steps: int, least_propensity: float) -> None:
        """Raise CertificateError if a session has more steps, or a step a smaller propensity, than stakes allow for."""
        if self.most_steps > most_steps or self.least_propensity < least_propensity:
            raise CertificateError(
                f"a session has {self.most_steps} critical steps and the smallest propensity is "
                f"{self.least_propensity!r}; the stakes were set for at most {most_steps} and at least "
                f"{least_propensity!r}: begin anew with limits that hold"
            )


def step_stakes(most_steps: int, least_propensity: float) -> NDArray[np.float64]:
    """Stakes for bets on the step risk, none of which can be lost whole on a session of at most `most_steps` steps."""
    by_draw = -math.expm1(most_steps * math.log1p(-BOLDEST * least_propensity)) / most_steps
    return np.array(halving_stakes(min(BOLDEST / most_steps, by_draw)))


def session_stakes(least_propensity: float) -> NDArray[np.float64]:
    """The same for bets on the session risk; a session may have any number of steps."""
    return np.array(halving_stakes(BOLDEST * least_propensity))


def step_log_factors(
    labels: SelectiveLabels, executed_N: NDArray[np.bool_], risk: float, stakes_B: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logarithms of what each session makes of each bettor's capital, against "step risk >= risk"; (S, B).

    Args:
        executed_N: the steps whose risk it is: by a cut on the score, or those that did execute.
        stakes_B: of `step_stakes` for these sessions and propensities.
    """
    count = labels.sessions
    weight_N = 1 / labels.propensities_N
    bad_N = executed_N & labels.wrong_N
    executed_S = np.bincount(labels.session_N[executed_N], minlength=count)
    possible_S = np.bincount(labels.session_N[executed_N], weights=weight_N[executed_N], minlength=count)
    weighted_S = np.bincount(labels.session_N[bad_N], weights=weight_N[bad_N], minlength=count)
    kept_SB = 1 - np.outer(weighted_S, stakes_B)
    for b, stake in enumerate(stakes_B):
        # By what could be drawn, never by what was: the choice must not know the audits' outcome.
        ruinous_S = stake * possible_S > BOLDEST + 1e-9
        if ruinous_S.any():
            each_S = -np.expm1(np.log1p(-stake * executed_S) / np.maximum(executed_S, 1))
            session_K = labels.session_N[bad_N]
            log_lost_K = np.log1p(-each_S[session_K] * weight_N[bad_N])
            product_S = np.exp(np.bincount(session_K, weights=log_lost_K, minlength=count))
            kept_SB[ruinous_S, b] = product_S[ruinous_S]
    return np.asarray(np.log(kept_SB + np.outer(risk * executed_S, stakes_B)), dtype=np.float64)


def session_log_factors(
    labels: SelectiveLabels, executed_N: NDArray[np.bool_], risk: float, stakes_B: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same against "the share of sessions with a wrong executed step is at least `risk`"; (S, B).

    (1 - s)^W <= 1 - s where W > 0, so the product over audited wrong steps serves at its full stake. Wrong steps of
    propensity 1 are known, and count once.
    """
    bad_N = executed_N & labels.wrong_N
    known_N, drawn_N = bad_N & (labels.propensities_N == 1), bad_N & (labels.propensities_N < 1)
    lost_S = np.bincount(labels.session_N[known_N], minlength=labels.sessions) > 0
    log_kept_SB = np.outer(lost_S, np.log1p(-stakes_B))
    np.add.at(log_kept_SB, labels.session_N[drawn_N], np.log1p(-np.outer(1 / labels.propensities_N[drawn_N], stakes_B)))
    return np.asarray(np.log(np.exp(log_kept_SB) + risk * stakes_B), dtype=np.float64)


def weighted_upper(
    labels: SelectiveLabels,
    executed_N: NDArray[np.bool_],
    delta: float,
    *,
    most_steps: int | None = None,
    least_propensity: float | None = None,
) -> float:
    """An upper confidence limit of the risk among the executed steps so far; may be asked at every moment.

    Guarantee, for every risk r: with probability at least 1 - delta the limit is at *no* moment below r while the
    average risk so far is at least r. The average risk so far is the expected wrong executed steps of the sessions,
    each given all before it, over the expected executed ones: for sessions drawn from one population its risk, which
    the limit then covers at all moments together; where thresholds, models or customers change, the average over what
    ran. At every sample size, whatever the dependence inside sessions and whenever one looks or stops.
    Assumptions: labels are drawn with the propensities given, independently given the session; a label is right.
    Sees: everything logged since go-live, and calibrate.

    Args:
        executed_N: the steps whose risk it is.
        most_steps, least_propensity: what no session and no draw exceeds, fixed before the first look, for the stakes
            rest on it. None: as seen here, which is right for one look, or where later days bring no larger ones.

    1.0 where nothing executed, or too little to say anything. To about 1e-4, rounded up.

    Raises:
        CertificateError: delta outside (0, 1); a session has more steps, or a step a smaller propensity, than stated.
    """
    check_share("delta", delta)
    most = most_steps or max(labels.most_steps, 1)
    least = least_propensity or labels.least_propensity
    labels.check_within(most, least)
    if not executed_N.any():
        return 1.0
    stakes_B = step_stakes(most, least)

    def rejects(risk: float) -> bool:
        log_capitals_B = step_log_factors(labels, executed_N, risk, stakes_B).sum(axis=0)
        return bool(log_total(log_capitals_B, BOLD_SHARES) >= -math.log(delta))

    # The capital grows with the risk that is bet against, so one bisection finds where rejecting begins.
    if not rejects(1.0):
        return 1.0
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if rejects(middle) else (middle, high)
    return high
