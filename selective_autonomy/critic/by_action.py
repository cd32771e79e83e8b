"""A critic's calibration as a whole: one map for all actions, and another where an action type supports its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.certify.fixed_sequence import quantile_cuts
from selective_autonomy.critic.calibration import Calibrator, Chosen, fit_calibrator, row_log_loss
from selective_autonomy.errors import ModelError
from selective_autonomy.params import CalibrationParams
from selective_autonomy.policy.protocol import Proposal

_CALIBRATORS, _SCORES = "calibrator.json", "fit_scores.json"


@dataclass(frozen=True)
class Calibration:
    """Raw log-odds to p_accept, and what it was learned on.

    `pooled`: the map of all actions. `own`: action type -> the map that replaces it there; within one action type p
    rises with the raw score. `fit_scores_N`: sorted cross-fitted p_accept of the fit split. `log_loss`, nats a row,
    cross-validated: of each kind of pooled map, and of what was chosen in the end.
    """

    pooled: Calibrator
    own: Mapping[str, Calibrator]
    fit_scores_N: NDArray[np.float64]
    log_loss: dict[str, float]

    @classmethod
    def fit(
        cls,
        raw_N: NDArray[np.float64],
        type_N: NDArray[np.str_],
        accepted_N: NDArray[np.bool_],
        fold_N: NDArray[np.int64],
        params: CalibrationParams,
    ) -> Calibration:
        """Choose and fit the maps. Sees: fit only.

        How many rows are enough for a map of its own is left to the data: it is kept if, cross-validated on its own
        rows, it predicts them better than the pooled map by more than one standard error. A few rows never do.

        Args:
            raw_N: log-odds by a model that did not see the row's fold.
            type_N: the type of each row's action.
            accepted_N, fold_N: as in `fit_calibrator`.
        """
        chosen = fit_calibrator(raw_N, accepted_N, fold_N, params.maps)
        p_N, own = chosen.p_N.copy(), {}
        for action_type in np.unique(type_N).tolist() if params.by_action else ():
            at = type_N == action_type
            found = _own(raw_N[at], accepted_N[at], fold_N[at], chosen.p_N[at], params)
            if found is not None:
                own[action_type], p_N[at] = found.calibrator, found.p_N
        losses = {str(kind): loss for kind, loss in chosen.log_loss.items()}
        losses["chosen"] = float(row_log_loss(p_N, accepted_N).mean())
        unsorted = cls(chosen.calibrator, own, np.empty(0), losses)
        return cls(chosen.calibrator, own, np.sort(unsorted(raw_N, type_N)), losses)

    def __call__(self, raw_N: NDArray[np.float64], type_N: NDArray[np.str_]) -> NDArray[np.float64]:
        """`p_accept_N` strictly inside (0, 1), of rows with these action types."""
        p_N = self.pooled(raw_N)
        for action_type, calibrator in self.own.items():
            at = type_N == action_type
            p_N[at] = calibrator(raw_N[at])
        return p_N

    @property
    def kind(self) -> str:
        """For people: "isotonic", or "isotonic; send_reply platt" with a map of its own."""
        return "; ".join([self.pooled.kind, *(f"{name} {own.kind}" for name, own in sorted(self.own.items()))])

    def cuts(self, count: int) -> NDArray[np.float64]:
        """`count` thresholds, strictest first, at quantiles of the cross-fitted scores of the fit split.

        Fixed before the calibrate split is looked at, as an exact fixed-sequence test wants them.
        """
        return quantile_cuts(self.fit_scores_N, count)

    def save(self, out: Path) -> None:
        """Write `calibrator.json` and `fit_scores.json` into `out`."""
        maps = {"pooled": self.pooled.as_json(), "own": {name: own.as_json() for name, own in self.own.items()}}
        (out / _CALIBRATORS).write_text(json.dumps(maps), encoding="utf-8")
        fit = {"scores": self.fit_scores_N.tolist(), "log_loss": self.log_loss}
        (out / _SCORES).write_text(json.dumps(fit), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            ModelError: a file is missing or damaged.
        """
        where = str(path / _CALIBRATORS)
        try:
            maps = json.loads((path / _CALIBRATORS).read_text(encoding="utf-8"))
            fit = json.loads((path / _SCORES).read_text(encoding="utf-8"))
            scores_N, losses = np.asarray(fit["scores"], dtype=np.float64), dict(fit["log_loss"])
            pooled = Calibrator.of_json(maps["pooled"], what=where)
            own = {str(name): Calibrator.of_json(data, what=where) for name, data in maps["own"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            raise ModelError(f"{path} holds no calibration: {err!r}; fit the critic again") from err
        return cls(pooled, own, scores_N, losses)


class Calibrated:
    """What every critic answers from its calibration: see `critic.protocol.Critic`."""

    _calibration: Calibration

    @property
    def calibration(self) -> str:
        return self._calibration.kind

    @property
    def fit_log_loss(self) -> dict[str, float]:
        return self._calibration.log_loss

    def cuts(self, count: int) -> NDArray[np.float64]:
        return self._calibration.cuts(count)


def _own(
    raw_N: NDArray[np.float64],
    accepted_N: NDArray[np.bool_],
    fold_N: NDArray[np.int64],
    pooled_p_N: NDArray[np.float64],
    params: CalibrationParams,
) -> Chosen | None:
    """The map of one action type's rows; None where the pooled one is as good, or there is too little to tell."""
    for fold in np.unique(fold_N):
        rest = accepted_N[fold_N != fold]
        if not rest.size or rest.all() or not rest.any():
            return None
    found = fit_calibrator(raw_N, accepted_N, fold_N, params.maps)
    gain_N = row_log_loss(pooled_p_N, accepted_N) - row_log_loss(found.p_N, accepted_N)
    return found if gain_N.mean() > gain_N.std() / np.sqrt(gain_N.size) else None


def types_of(proposals: Sequence[Proposal]) -> NDArray[np.str_]:
    """`type_N`: the type of each proposed action."""
    return np.array([proposal.action.type for proposal in proposals], dtype=np.str_)
