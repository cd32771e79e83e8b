"""What every critic does with its feedback: check labels, deal sessions into folds, calibrate scores of unseen rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selective_autonomy.certify.fixed_sequence import quantile_cuts
from selective_autonomy.critic.calibration import Calibrator, fit_calibrator
from selective_autonomy.errors import ModelError
from selective_autonomy.policy.protocol import Proposal

FOLDS = 5
_CALIBRATOR, _SCORES = "calibrator.json", "fit_scores.json"


@dataclass(frozen=True)
class Calibration:
    """Raw log-odds to p_accept, and what it was learned on.

    `fit_scores_N`: sorted cross-fitted p_accept of the fit split. `log_loss`: cross-validated, of each kind tried.
    """

    calibrator: Calibrator
    fit_scores_N: NDArray[np.float64]
    log_loss: dict[str, float]

    @classmethod
    def fit(
        cls,
        raw_N: NDArray[np.float64],
        proposals: Sequence[Proposal],
        accepted_N: NDArray[np.bool_],
        fold_N: NDArray[np.int64],
    ) -> Calibration:
        """Choose and fit the map. Sees: fit only.

        Args:
            raw_N: log-odds by a model that did not see the row's fold.
        """
        calibrator, losses = fit_calibrator(raw_N, accepted_N, fold_N)
        return cls(calibrator, np.sort(calibrator(raw_N)), losses)

    def __call__(self, raw_N: NDArray[np.float64], proposals: Sequence[Proposal]) -> NDArray[np.float64]:
        """`p_accept_N` strictly inside (0, 1)."""
        return self.calibrator(raw_N)

    @property
    def kind(self) -> str:
        return self.calibrator.kind

    def cuts(self, count: int) -> NDArray[np.float64]:
        """`count` thresholds, strictest first, at quantiles of the cross-fitted scores."""
        return quantile_cuts(self.fit_scores_N, count)

    def save(self, out: Path) -> None:
        """Write `calibrator.json` and `fit_scores.json` into `out`."""
        self.calibrator.save(out / _CALIBRATOR)
        fit = {"scores": self.fit_scores_N.tolist(), "log_loss": self.log_loss}
        (out / _SCORES).write_text(json.dumps(fit), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            ModelError: a file is missing or damaged.
        """
        calibrator = Calibrator.load(path / _CALIBRATOR)
        try:
            fit = json.loads((path / _SCORES).read_text(encoding="utf-8"))
            return cls(calibrator, np.asarray(fit["scores"], dtype=np.float64), dict(fit["log_loss"]))
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise ModelError(f"{path / _SCORES} holds no scores: {err}; fit the critic again") from err


def session_folds(session_of_N: Sequence[str], seed: int) -> NDArray[np.int64]:
    """`fold_N`: sessions dealt out evenly in a seeded order, so that no session is in two folds.

    Raises:
        ModelError: fewer than two sessions.
    """
    sessions = sorted(set(session_of_N))
    if len(sessions) < 2:
        raise ModelError(f"got feedback of {len(sessions)} sessions, expected at least 2: collect more feedback")
    order = np.random.default_rng(seed).permutation(len(sessions))
    fold = {sessions[s]: place % FOLDS for place, s in enumerate(order)}
    return np.fromiter((fold[s] for s in session_of_N), dtype=np.int64, count=len(session_of_N))


def held_out(fold_N: NDArray[np.int64], accepted_N: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """For each fold, which rows it holds out.

    Raises:
        ModelError: all labels outside a fold are equal: nothing can be learned from one class.
    """
    for fold in np.unique(fold_N):
        held_N = fold_N == fold
        rest = accepted_N[~held_N]
        if rest.all() or not rest.any():
            raise ModelError(
                f"all {rest.size} labels outside fold {int(fold)} are {bool(rest[0])}; "
                "expected both accepted and corrected proposals: collect more feedback"
            )
        yield held_N


def checked_labels(accepted_N: ArrayLike, n: int) -> NDArray[np.bool_]:
    """The labels of `n` proposals as booleans.

    Raises:
        ModelError: there are more or fewer, or one is NaN or neither 0 nor 1.
    """
    labels = np.asarray(accepted_N)
    if labels.shape != (n,):
        raise ModelError(f"got labels of shape {labels.shape} for {n} proposals; give one label a proposal")
    if not bool(np.all((labels == 0) | (labels == 1))):
        bad = int(np.flatnonzero(~((labels == 0) | (labels == 1)))[0])
        raise ModelError(f"label {bad} is {labels[bad]!r}; expected 1 (accepted) or 0 (corrected)")
    return labels.astype(bool)
