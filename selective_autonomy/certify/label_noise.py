"""From what operators say to what is true: promises about *truly wrong* steps although verdicts are noisy.

An operator calls right steps wrong (taste, haste, a slip) and overlooks wrong ones. The first makes a certificate on
raw verdicts too careful, the second makes it false. Two further looks mend both, at a price that can be stated:

adjudication   every rejected proposal that could execute is looked at again by somebody who knows; what is confirmed
               as wrong counts as wrong, the rest does not.
probes         planted proposals that are known to be wrong show which share of wrong ones operators catch. What they
               overlook is paid for by asking for that much less risk. Where one kind of error is caught less often
               than others, the price is that kind's.

A critic that knows who is asked learns whose errors pass, and executes just those: then probes, which measure an
average, say too little. So it must not know (`params.EvidenceParams.operator_habits`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from scipy.stats import fisher_exact, norm

from selective_autonomy.certify.binomial import upper_limit
from selective_autonomy.certify.multiplicity import holm
from selective_autonomy.errors import CertificateError
from selective_autonomy.frozen import Frozen
from selective_autonomy.params import CertificateParams

_DELTA_SHARE = 0.2  # of a certificate's delta that the sensitivity may use up


class Sensitivity(Frozen):
    """How many planted wrong proposals operators caught.

    Args:
        planted: probes that are truly wrong, answered by the operators whose verdicts a certificate stands on, in
            proportion to their share of the verdicts. caught: those of them that were rejected.
        kind: the action type they propose, where they are those of one kind only. kinds: how many kinds it was
            chosen from, for which the limit pays.
    """

    planted: int = Field(ge=0)
    caught: int = Field(ge=0)
    kind: str | None = None
    kinds: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _caught_were_planted(self) -> Sensitivity:
        if self.caught > self.planted:
            raise ValueError(f"got {self.caught} caught of {self.planted} planted probes; expected at most as many")
        return self

    def lower(self, delta: float) -> float:
        """Clopper–Pearson lower limit of the share that is caught; 0.0 without probes, or when none was caught.

        Guarantee: P(lower > true sensitivity) <= delta, for probes that are independent draws; whichever of the kinds
        it is of (Bonferroni).
        """
        return 1.0 - float(upper_limit(self.planted - self.caught, self.planted, delta / self.kinds))


def sensitivity_of(kind_P: Sequence[str], caught_P: ArrayLike, *, level: float = 0.05) -> Sensitivity:
    """What the probes show: of all of them, or of the kind that is caught least often if it differs from the others.

    A kind differs if its probes are caught less often than all others together (Fisher's exact test, Holm over kinds,
    at `level`). Where none does, differences too small to be seen are taken for none.

    Args:
        kind_P: the action type of each planted wrong proposal. caught_P: 0 / 1, whether it was rejected.

    Raises:
        CertificateError: lengths differ.
    """
    kind, caught = np.asarray(kind_P, dtype=str), np.asarray(caught_P, dtype=bool)
    if kind.shape != caught.shape:
        raise CertificateError(f"got {kind.size} kinds of {caught.size} probes; expected as many")
    kinds = np.unique(kind)
    p_values = [_caught_less_often(caught[kind == one], caught[kind != one]) for one in kinds]
    overlooked = [one for one, differs in zip(kinds, holm(p_values, level), strict=True) if differs]
    counted = [
        Sensitivity(planted=int(mine.size), caught=int(mine.sum()), kind=str(one), kinds=kinds.size)
        for one in overlooked
        for mine in [caught[kind == one]]
    ]
    everything = Sensitivity(planted=int(caught.size), caught=int(caught.sum()))
    return min(counted, key=lambda s: s.lower(level), default=everything)


def _caught_less_often(mine_P: NDArray[np.bool_], others_P: NDArray[np.bool_]) -> float:
    """The p-value of "as often as the others"; 1.0 where there are none."""
    if not mine_P.size or not others_P.size:
        return 1.0
    table = [[int(side.sum()), int((~side).sum())] for side in (mine_P, others_P)]
    return float(fisher_exact(table, alternative="less").pvalue)


def confirmed_wrong(rejected_N: ArrayLike, truly_wrong_N: ArrayLike) -> NDArray[np.bool_]:
    """Which steps count as wrong: rejected by the operator, and wrong in the adjudicator's eyes.

    Args:
        rejected_N: 0 / 1 or bool. truly_wrong_N: 0 / 1, or NaN where nobody looked again.

    Raises:
        CertificateError: lengths differ, or a rejected step was not adjudicated: it can be neither counted nor
            left out.
    """
    rejected = np.asarray(rejected_N)
    truth = np.asarray(truly_wrong_N, dtype=np.float64)
    if rejected.shape != truth.shape or not bool(np.all((rejected == 0) | (rejected == 1))):
        raise CertificateError(
            f"verdicts and adjudications must be 0 / 1 and equally long; got shapes {rejected.shape} and {truth.shape}"
        )
    rejected = rejected.astype(bool)
    missing = int(np.isnan(truth[rejected]).sum())
    if missing:
        raise CertificateError(
            f"{missing} of {int(rejected.sum())} rejected steps were not adjudicated; adjudicate them, or certify on "
            "raw verdicts"
        )
    return np.asarray(rejected & (np.nan_to_num(truth) == 1), dtype=bool)


def for_truth(params: CertificateParams, sensitivity: Sensitivity) -> CertificateParams:
    """The promise to certify on confirmed errors so that `params` holds for truly wrong ones.

    Guarantee: a certificate at the answer, with `confirmed_wrong` as its labels, holds for truly wrong steps (and for
    sessions with a truly wrong executed step) at `params.alpha` (`alpha_session`) with probability at least
    1 - params.delta. For a wrong executed step is confirmed with probability s >= lower, so the confirmed share is at
    least s times the true one; a session with a wrong executed step has a confirmed one with probability at least s.
    Assumptions: those of the certificate; a truly wrong step is rejected as often as a probe (of its kind) is,
    whatever the critic says of it; the adjudicator is right. Sees: calibrate verdicts, adjudications of them, probes.

    Raises:
        CertificateError: no probe was caught (or none planted): nothing is known of what verdicts overlook.
    """
    spent = _DELTA_SHARE * params.delta
    lower = sensitivity.lower(spent)
    if lower <= 0:
        raise CertificateError(
            f"{sensitivity.caught} of {sensitivity.planted} planted probes were caught: verdicts say nothing of wrong "
            "steps; plant more probes, or ask other operators"
        )
    session = None if params.alpha_session is None else params.alpha_session * lower
    return params.model_copy(
        update={"alpha": params.alpha * lower, "alpha_session": session, "delta": params.delta - spent}
    )


class TrueShare(Frozen):
    """An estimate with its confidence interval; `adjudicated`: units whose truth was looked at."""

    value: float
    low: float
    high: float
    n: int
    adjudicated: int


def truly_wrong_share(
    rejected_N: ArrayLike,
    truly_wrong_N: ArrayLike,
    propensity_N: ArrayLike,
    session_of_N: Sequence[str],
    *,
    confidence: float = 0.95,
) -> TrueShare:
    """The share of truly wrong steps from verdicts on all of them and adjudications of a random few.

    Prediction-powered (Angelopoulos et al. 2023, arXiv 2301.09633): the verdicts' mean, plus what adjudicated steps
    say it is off by, each weighted by one over the probability that it was drawn; the verdicts' weight is tuned so
    that the variance is least (PPI++), so that noise alone cannot make it wider than the adjudications are.
    Guarantee: asymptotic (normal), with whole sessions as the independent units; unbiased whatever the verdicts are
    worth. Assumption: what is adjudicated was drawn with the propensities given.

    Args:
        rejected_N: 0 / 1, the operator's verdict. truly_wrong_N: 0 / 1, NaN where not drawn. propensity_N: in (0, 1].

    Raises:
        CertificateError: lengths differ, a propensity is outside (0, 1], fewer than two sessions, or nothing was
            adjudicated.
    """
    verdict = np.asarray(rejected_N, dtype=np.float64)
    truth = np.asarray(truly_wrong_N, dtype=np.float64)
    propensity = np.asarray(propensity_N, dtype=np.float64)
    if not verdict.shape == truth.shape == propensity.shape == (len(session_of_N),):
        raise CertificateError(
            f"verdicts, adjudications, propensities and session ids must be equally long; got {verdict.shape}, "
            f"{truth.shape}, {propensity.shape}, {len(session_of_N)}"
        )
    if not bool(np.all((propensity > 0) & (propensity <= 1))):
        raise CertificateError("a propensity lies outside (0, 1]; give the probability each step was drawn with")
    drawn = ~np.isnan(truth)
    codes = np.unique(np.asarray(session_of_N), return_inverse=True)[1] if verdict.size else np.empty(0, np.int64)
    sessions = int(codes.max()) + 1 if verdict.size else 0
    if sessions < 2 or not drawn.any():
        raise CertificateError(
            f"got {sessions} sessions and {int(drawn.sum())} adjudicated steps; expected at least two and one"
        )
    weight = np.where(drawn, 1 / propensity, 0.0)
    known = np.where(drawn, truth, 0.0)
    # Of each session: steps, weighted truth, and how far its verdicts are from what the drawn ones stand for.
    steps_S = np.bincount(codes, minlength=sessions).astype(np.float64)
    truth_S = np.bincount(codes, weights=weight * known, minlength=sessions)
    gap_S = np.bincount(codes, weights=verdict - weight * verdict, minlength=sessions)
    n = steps_S.sum()
    first = truth_S.sum() / n
    residual_S, gap_residual_S = truth_S - first * steps_S, gap_S - gap_S.mean()
    spread = float((gap_residual_S**2).sum())
    tuned = 0.0 if spread == 0 else float(np.clip(-(residual_S * gap_residual_S).sum() / spread, 0.0, 1.0))
    value = float((truth_S + tuned * gap_S).sum() / n)
    final_S = truth_S + tuned * gap_S - value * steps_S
    error = float(np.sqrt(sessions / (sessions - 1) * (final_S**2).sum()) / n)
    reach = float(norm.ppf((1 + confidence) / 2)) * error
    return TrueShare(
        value=min(max(value, 0.0), 1.0),
        low=max(value - reach, 0.0),
        high=min(value + reach, 1.0),
        n=int(n),
        adjudicated=int(drawn.sum()),
    )
