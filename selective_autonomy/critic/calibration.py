"""From a ranking score to a probability: Platt or isotonic, whichever predicts unseen sessions better."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from selective_autonomy.errors import ModelError

_EDGE = 1e-6  # probabilities stay this far from 0 and 1: no finite sample shows certainty
# Isotonic regression maps long stretches to one value; a certificate can only cut between values, so it would
# lose every cut inside a plateau. Blending in this much of the raw probability keeps the order of the raw score
# inside plateaus and moves no probability by more than it.
_TIE_BREAK = 0.005
_LEAST_SLOPE = 1e-3  # a ranking without signal must not be turned round by noise


@dataclass(frozen=True)
class Calibrator:
    """A strictly increasing map from raw log-odds to p_accept.

    `platt`: x = (slope,), y = (intercept,). `isotonic`: p is linear between the points (x, y), flat outside.
    """

    kind: Literal["platt", "isotonic"]
    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, raw_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """`p_N` strictly inside (0, 1), in the order of raw_N."""
        if self.kind == "platt":
            p_N = _sigmoid(self.x[0] * raw_N + self.y[0])
        else:
            p_N = (1 - _TIE_BREAK) * np.interp(raw_N, self.x, self.y) + _TIE_BREAK * _sigmoid(raw_N)
        return _EDGE + (1 - 2 * _EDGE) * p_N

    def save(self, path: Path) -> None:
        path.write_text(json.dumps({"kind": self.kind, "x": self.x, "y": self.y}), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Calibrator:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing or is not a calibrator.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            kind, x, y = data["kind"], tuple(map(float, data["x"])), tuple(map(float, data["y"]))
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise ModelError(f"{path} is no calibrator: {err}; fit the critic again") from err
        if kind not in ("platt", "isotonic") or not x or len(x) != len(y) or not np.all(np.isfinite([*x, *y])):
            raise ModelError(f"{path} is no calibrator: got kind {kind!r}, {len(x)} and {len(y)} points")
        return cls(kind, x, y)


def fit_calibrator(
    raw_N: NDArray[np.float64], accepted_N: NDArray[np.bool_], fold_N: NDArray[np.int64]
) -> tuple[Calibrator, dict[str, float]]:
    """Choose the kind by cross-validated log loss, then fit it on all rows.

    Args:
        raw_N: log-odds from boosters that did not see the row's session. Sees: fit only.
        accepted_N: both classes must occur outside every fold.
        fold_N: folds that keep sessions whole.

    Returns:
        The calibrator, and the cross-validated log loss (nats a row) of each kind.
    """
    losses: dict[str, float] = {}
    for name, fit in (("platt", _fit_platt), ("isotonic", _fit_isotonic)):
        p_N = np.empty(raw_N.size)
        for fold in np.unique(fold_N):
            held = fold_N == fold
            p_N[held] = fit(raw_N[~held], accepted_N[~held])(raw_N[held])
        losses[name] = float(-np.log(np.where(accepted_N, p_N, 1 - p_N)).mean())
    best = _fit_isotonic if losses["isotonic"] < losses["platt"] else _fit_platt
    return best(raw_N, accepted_N), losses


def _fit_platt(raw_N: NDArray[np.float64], accepted_N: NDArray[np.bool_]) -> Calibrator:
    model = LogisticRegression(C=1e6).fit(raw_N[:, None], accepted_N)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return Calibrator("platt", (max(slope, _LEAST_SLOPE),), (intercept,))


def _fit_isotonic(raw_N: NDArray[np.float64], accepted_N: NDArray[np.bool_]) -> Calibrator:
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(raw_N, accepted_N)
    return Calibrator("isotonic", tuple(map(float, model.X_thresholds_)), tuple(map(float, model.y_thresholds_)))


def _sigmoid(x_N: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(x_N, -500, 500)))
