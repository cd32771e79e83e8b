"""The evidence critic: gradient boosting over evidence, calibrated by cross-fitting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import ArrayLike, NDArray

from selective_autonomy.certify.fixed_sequence import quantile_cuts
from selective_autonomy.critic.calibration import Calibrator, fit_calibrator
from selective_autonomy.critic.evidence import CATEGORIES, NAMES, Evidence
from selective_autonomy.critic.operator_habits import NAMES as HABIT_NAMES
from selective_autonomy.errors import ModelError
from selective_autonomy.params import CriticParams
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.traces.schema import Session

_FOLDS = 5
_HABITS = [NAMES.index(name) for name in HABIT_NAMES]
_THREADS = 1  # the same trees and scores on every machine; a fit on 10k rows takes about a second
_BOOSTER, _CALIBRATOR, _SCORES = "critic.txt", "calibrator.json", "fit_scores.json"


class BoostedCritic:
    """Implements `Critic`. Deterministic: the same rows, parameters and seed give the same scores."""

    def __init__(
        self,
        evidence: Evidence,
        booster: lightgbm.Booster,
        calibrator: Calibrator,
        fit_scores_N: NDArray[np.float64],
        fit_log_loss: dict[str, float],
    ) -> None:
        """`fit_scores_N`: sorted cross-fitted p_accept of the fit split. `fit_log_loss`: of each calibration."""
        self.evidence, self._booster, self._calibrator = evidence, booster, calibrator
        self._fit_scores_N, self.fit_log_loss = fit_scores_N, fit_log_loss

    @property
    def calibration(self) -> str:
        """The kind of calibration chosen: "platt" or "isotonic"."""
        return self._calibrator.kind

    @classmethod
    def fit(
        cls,
        evidence: Evidence,
        befores: Sequence[Session],
        proposals: Sequence[Proposal],
        accepted_N: ArrayLike,
        params: CriticParams,
    ) -> BoostedCritic:
        """Fit on copilot feedback. Sees: fit only (`evidence` saw train).

        Five boosters, each blind to a fifth of the *sessions*, score the rows that they did not see; the
        calibrator is fitted on these scores, the booster that is kept on all rows.

        Args:
            accepted_N: 0 / 1 or bool, one for each (log before the step, proposal).

        Raises:
            ModelError: lengths differ; a label is NaN or not 0 / 1; fewer than two sessions; or all labels
                (outside some fifth of the sessions) are equal: nothing can be learned from one class.
        """
        sessions = [before.session_id for before in befores]
        return cls.fit_rows(evidence, evidence.featurise(befores, proposals), sessions, accepted_N, params)

    @classmethod
    def fit_rows(
        cls,
        evidence: Evidence,
        x_NF: NDArray[np.float64],
        session_of_N: Sequence[str],
        accepted_N: ArrayLike,
        params: CriticParams,
    ) -> BoostedCritic:
        """As `fit`, on rows that `evidence.featurise` made: the same rows with other labels need no second reading."""
        accepted = _checked_labels(accepted_N, len(session_of_N))
        if not params.operator_habits:
            x_NF = x_NF.copy()
            x_NF[:, _HABITS] = 0.0  # no tree splits on what is always the same, so it is not looked at later either
        fold_N = _folds(session_of_N, params.seed)
        raw_N = np.empty(accepted.size)
        for fold in np.unique(fold_N):
            held = fold_N == fold
            if accepted[~held].all() or not accepted[~held].any():
                raise ModelError(
                    f"all {int((~held).sum())} labels outside fold {int(fold)} are {bool(accepted[~held][0])}; "
                    "expected both accepted and corrected proposals: collect more feedback"
                )
            raw_N[held] = _predict(_boost(x_NF[~held], accepted[~held], params), x_NF[held])
        calibrator, losses = fit_calibrator(raw_N, accepted, fold_N)
        return cls(evidence, _boost(x_NF, accepted, params), calibrator, np.sort(calibrator(raw_N)), losses)

    def p_accept(self, befores: Sequence[Session], proposals: Sequence[Proposal]) -> NDArray[np.float64]:
        """`p_accept_N` strictly inside (0, 1). Each row depends on its own pair alone: batch equals single."""
        if not befores and not proposals:
            return np.empty(0)
        return self.p_accept_rows(self.evidence.featurise(befores, proposals))

    def p_accept_rows(self, x_NF: NDArray[np.float64]) -> NDArray[np.float64]:
        """`p_accept_N` of at least one row that `evidence.featurise` made."""
        return self._calibrator(_predict(self._booster, x_NF))

    def cuts(self, count: int) -> NDArray[np.float64]:
        """`count` thresholds, strictest first, at quantiles of the cross-fitted scores of the fit split.

        Fixed before the calibrate split is looked at, as an exact fixed-sequence test wants them.
        """
        return quantile_cuts(self._fit_scores_N, count)

    def importances(self) -> dict[str, float]:
        """Share of the total gain that each evidence brought, largest first."""
        gain_F = self._booster.feature_importance("gain")
        total = float(gain_F.sum()) or 1.0
        return dict(sorted(((n, float(g) / total) for n, g in zip(NAMES, gain_F, strict=True)), key=lambda p: -p[1]))

    def save(self, out: Path) -> None:
        """Write `critic.txt`, `calibrator.json`, `fit_scores.json` and the evidence files into `out`."""
        out.mkdir(parents=True, exist_ok=True)
        self.evidence.save(out)
        (out / _BOOSTER).write_text(self._booster.model_to_string(), encoding="utf-8")
        self._calibrator.save(out / _CALIBRATOR)
        fit = {"scores": self._fit_scores_N.tolist(), "log_loss": self.fit_log_loss}
        (out / _SCORES).write_text(json.dumps(fit), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> BoostedCritic:
        """Read what `save` wrote; it scores exactly as the critic that was saved.

        Raises:
            ModelError: a file is missing, damaged, or of another version.
        """
        evidence = Evidence.load(path)
        calibrator = Calibrator.load(path / _CALIBRATOR)
        try:
            booster = lightgbm.Booster(model_str=(path / _BOOSTER).read_text(encoding="utf-8"))
            fit = json.loads((path / _SCORES).read_text(encoding="utf-8"))
            scores_N, losses = np.asarray(fit["scores"], dtype=np.float64), dict(fit["log_loss"])
        except (OSError, ValueError, KeyError, TypeError, lightgbm.basic.LightGBMError) as err:
            raise ModelError(f"{path} holds no critic: {err}; fit the critic again") from err
        if booster.num_feature() != len(NAMES):
            raise ModelError(
                f"{path / _BOOSTER} has {booster.num_feature()} columns, expected {len(NAMES)}; fit it again"
            )
        return cls(evidence, booster, calibrator, scores_N, losses)


def _boost(x_NF: NDArray[np.float64], accepted_N: NDArray[np.bool_], params: CriticParams) -> lightgbm.Booster:
    settings: dict[str, Any] = {
        "objective": "binary",
        "num_leaves": params.leaves,
        "learning_rate": params.learning_rate,
        "min_data_in_leaf": params.min_leaf,
        "feature_fraction": 0.5,
        "lambda_l2": 5.0,
        "seed": params.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": _THREADS,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(
        x_NF,
        label=accepted_N.astype(np.float64),
        feature_name=list(NAMES),
        categorical_feature=list(CATEGORIES),
        params={"verbosity": -1, "num_threads": _THREADS},
    )
    return lightgbm.train(settings, data, num_boost_round=params.trees)


def _predict(booster: lightgbm.Booster, x_NF: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(booster.predict(x_NF, raw_score=True, num_threads=_THREADS), dtype=np.float64)


def _folds(session_of_N: Sequence[str], seed: int) -> NDArray[np.int64]:
    """`fold_N`: sessions dealt out evenly in a seeded order, so that no session is in two folds."""
    sessions = sorted(set(session_of_N))
    if len(sessions) < 2:
        raise ModelError(f"got feedback of {len(sessions)} sessions, expected at least 2: collect more feedback")
    order = np.random.default_rng(seed).permutation(len(sessions))
    fold = {sessions[s]: place % _FOLDS for place, s in enumerate(order)}
    return np.fromiter((fold[s] for s in session_of_N), dtype=np.int64, count=len(session_of_N))


def _checked_labels(accepted_N: ArrayLike, n: int) -> NDArray[np.bool_]:
    labels = np.asarray(accepted_N)
    if labels.shape != (n,):
        raise ModelError(f"got labels of shape {labels.shape} for {n} proposals; give one label a proposal")
    if not bool(np.all((labels == 0) | (labels == 1))):
        bad = int(np.flatnonzero(~((labels == 0) | (labels == 1)))[0])
        raise ModelError(f"label {bad} is {labels[bad]!r}; expected 1 (accepted) or 0 (corrected)")
    return labels.astype(bool)
