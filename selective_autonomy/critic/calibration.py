"""From a ranking score to a probability: Platt, isotonic or Venn–Abers, whichever predicts unseen sessions best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from selective_autonomy.critic.venn_abers import merged, venn_abers
from selective_autonomy.errors import ModelError
from selective_autonomy.params import CalibrationMap

_EDGE = 1e-6  # probabilities stay this far from 0 and 1: no finite sample shows certainty
# Isotonic fits map long stretches to one value; a certificate can only cut between values, so it would
# lose every cut inside a plateau. Blending in this much of the raw probability keeps the order of the raw score
# inside plateaus and moves no probability by more than it.
_TIE_BREAK = 0.005
_LEAST_SLOPE = 1e-3  # a ranking without signal must not be turned round by noise


@dataclass(frozen=True)
class Calibrator:
    """A strictly increasing map from raw log-odds to p_accept.

    `platt`: x = (slope,), y = (intercept,). `isotonic`, `venn_abers`: p is linear between the points (x, y), flat
    outside; the points of the second are exact, and between two of them p lies between theirs.
    """

    kind: CalibrationMap
    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, raw_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """`p_N` strictly inside (0, 1), in the order of raw_N."""
        if self.kind == "platt":
            p_N = _sigmoid(self.x[0] * raw_N + self.y[0])
        else:
            p_N = (1 - _TIE_BREAK) * np.interp(raw_N, self.x, self.y) + _TIE_BREAK * _sigmoid(raw_N)
        return _EDGE + (1 - 2 * _EDGE) * p_N

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "x": self.x, "y": self.y}

    @classmethod
    def of_json(cls, data: Any, *, what: str) -> Calibrator:
        """Read what `as_json` gave.

        Args:
            what: names the source in the error.

        Raises:
            ModelError: it is not a calibrator.
        """
        try:
            kind, x, y = data["kind"], tuple(map(float, data["x"])), tuple(map(float, data["y"]))
        except (ValueError, KeyError, TypeError) as err:
            raise ModelError(f"{what} is no calibrator: {err!r}; fit the critic again") from err
        if kind not in get_args(CalibrationMap) or not x or len(x) != len(y) or not np.all(np.isfinite([*x, *y])):
            raise ModelError(f"{what} is no calibrator: got kind {kind!r}, {len(x)} and {len(y)} points")
        return cls(kind, x, y)


@dataclass(frozen=True)
class Chosen:
    """The calibrator that predicts best, `log_loss` of each kind, `p_N` of the rows by maps that were blind to them.

    Log losses are cross-validated, nats a row.
    """

    calibrator: Calibrator
    log_loss: dict[CalibrationMap, float]
    p_N: NDArray[np.float64]


def fit_calibrator(
    raw_N: NDArray[np.float64],
    accepted_N: NDArray[np.bool_],
    fold_N: NDArray[np.int64],
    kinds: Sequence[CalibrationMap],
) -> Chosen:
    """Choose the kind by cross-validated log loss, then fit it on all rows.

    Args:
        raw_N: log-odds from models that did not see the row's session. Sees: fit only.
        accepted_N: both classes must occur outside every fold.
        fold_N: folds that keep sessions whole.
        kinds: what to choose among; at a tie the first.
    """
    tried: dict[CalibrationMap, NDArray[np.float64]] = {}
    for kind in kinds:
        p_N = np.empty(raw_N.size)
        for fold in np.unique(fold_N):
            held = fold_N == fold
            p_N[held] = _FITS[kind](raw_N[~held], accepted_N[~held])(raw_N[held])
        tried[kind] = p_N
    losses: dict[CalibrationMap, float] = {
        kind: float(row_log_loss(p_N, accepted_N).mean()) for kind, p_N in tried.items()
    }
    best = min(losses, key=lambda kind: losses[kind])
    return Chosen(_FITS[best](raw_N, accepted_N), losses, tried[best])


def row_log_loss(p_N: NDArray[np.float64], accepted_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Nats of each row; p strictly inside (0, 1)."""
    return np.asarray(-np.log(np.where(accepted_N, p_N, 1 - p_N)))


def _fit_platt(raw_N: NDArray[np.float64], accepted_N: NDArray[np.bool_]) -> Calibrator:
    model = LogisticRegression(C=1e6).fit(raw_N[:, None], accepted_N)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return Calibrator("platt", (max(slope, _LEAST_SLOPE),), (intercept,))


def _fit_isotonic(raw_N: NDArray[np.float64], accepted_N: NDArray[np.bool_]) -> Calibrator:
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(raw_N, accepted_N)
    return Calibrator("isotonic", tuple(map(float, model.X_thresholds_)), tuple(map(float, model.y_thresholds_)))


def _fit_venn_abers(raw_N: NDArray[np.float64], accepted_N: NDArray[np.bool_]) -> Calibrator:
    score_K, p0_K, p1_K = venn_abers(raw_N, accepted_N)
    p_K = np.maximum.accumulate(merged(p0_K, p1_K))  # rising already, but for rounding
    # Inside a plateau nothing is to be remembered but its ends.
    differs = np.diff(p_K) != 0
    ends_K = np.append(differs, True) | np.insert(differs, 0, True)
    return Calibrator("venn_abers", tuple(score_K[ends_K].tolist()), tuple(p_K[ends_K].tolist()))


_FITS: Mapping[CalibrationMap, Callable[[NDArray[np.float64], NDArray[np.bool_]], Calibrator]] = {
    "platt": _fit_platt,
    "isotonic": _fit_isotonic,
    "venn_abers": _fit_venn_abers,
}


def _sigmoid(x_N: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(x_N, -500, 500)))
