"""The evidence critic: gradient boosting over evidence, calibrated by cross-fitting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import ArrayLike, NDArray

from selective_autonomy.critic.by_action import Calibrated, Calibration
from selective_autonomy.critic.card import write_card
from selective_autonomy.critic.cross_fitting import checked_labels, held_out, session_folds
from selective_autonomy.critic.evidence import CATEGORIES, NAMES, Evidence, action_types
from selective_autonomy.critic.operator_habits import NAMES as HABIT_NAMES
from selective_autonomy.errors import ModelError
from selective_autonomy.params import EvidenceParams
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.traces.schema import Session

_HABITS = [NAMES.index(name) for name in HABIT_NAMES]
_THREADS = 1  # the same trees and scores on every machine; a fit on 10k rows takes about a second
_BOOSTER = "critic.txt"


class BoostedCritic(Calibrated):
    """Implements `Critic`. Deterministic: the same rows, parameters and seed give the same scores."""

    kind = "evidence"

    def __init__(self, evidence: Evidence, booster: lightgbm.Booster, calibration: Calibration) -> None:
        self.evidence, self._booster, self._calibration = evidence, booster, calibration

    @classmethod
    def fit(
        cls,
        evidence: Evidence,
        befores: Sequence[Session],
        proposals: Sequence[Proposal],
        accepted_N: ArrayLike,
        params: EvidenceParams,
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
        params: EvidenceParams,
    ) -> BoostedCritic:
        """As `fit`, on rows that `evidence.featurise` made: the same rows with other labels need no second reading."""
        accepted = checked_labels(accepted_N, len(session_of_N))
        fold_N = session_folds(session_of_N, params.seed)
        raw_N = boosted_out_of_fold(x_NF, accepted, fold_N, params)
        calibration = Calibration.fit(raw_N, action_types(x_NF), accepted, fold_N, params.calibration)
        return cls(evidence, boost(x_NF, accepted, params), calibration)

    def p_accept(self, befores: Sequence[Session], proposals: Sequence[Proposal]) -> NDArray[np.float64]:
        """`p_accept_N` strictly inside (0, 1). Each row depends on its own pair alone: batch equals single."""
        if not befores and not proposals:
            return np.empty(0)
        return self.p_accept_rows(self.evidence.featurise(befores, proposals))

    def p_accept_rows(self, x_NF: NDArray[np.float64]) -> NDArray[np.float64]:
        """`p_accept_N` of at least one row that `evidence.featurise` made."""
        return self._calibration(boosted_log_odds(self._booster, x_NF), action_types(x_NF))

    def importances(self) -> dict[str, float]:
        """Share of the total gain that each evidence brought, largest first."""
        return gain_shares(self._booster, NAMES)

    def save(self, out: Path) -> None:
        """Write `critic.txt`, calibration and evidence files into `out`, `critic.json` last."""
        out.mkdir(parents=True, exist_ok=True)
        self.evidence.save(out)
        (out / _BOOSTER).write_text(self._booster.model_to_string(), encoding="utf-8")
        self._calibration.save(out)
        write_card(out, self.kind)

    @classmethod
    def load(cls, path: Path) -> BoostedCritic:
        """Read what `save` wrote; it scores exactly as the critic that was saved.

        Raises:
            ModelError: a file is missing, damaged, or of another version.
        """
        evidence, calibration = Evidence.load(path), Calibration.load(path)
        return cls(evidence, read_booster(path / _BOOSTER, len(NAMES)), calibration)


def boost(
    x_NF: NDArray[np.float64],
    accepted_N: NDArray[np.bool_],
    params: EvidenceParams,
    names: Sequence[str] = NAMES,
) -> lightgbm.Booster:
    """Trees over the columns `names`, of which the first are `NAMES` and those of `CATEGORIES` are codes."""
    if not params.operator_habits:
        x_NF = x_NF.copy()
        x_NF[:, _HABITS] = 0.0  # no tree splits on what is always the same, so it is not looked at later either
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
        feature_name=list(names),
        categorical_feature=list(CATEGORIES),
        params={"verbosity": -1, "num_threads": _THREADS},
    )
    return lightgbm.train(settings, data, num_boost_round=params.trees)


def boosted_out_of_fold(
    x_NF: NDArray[np.float64],
    accepted_N: NDArray[np.bool_],
    fold_N: NDArray[np.int64],
    params: EvidenceParams,
    names: Sequence[str] = NAMES,
) -> NDArray[np.float64]:
    """`raw_N`: log-odds of each row by trees that did not see its fold.

    Raises:
        ModelError: all labels outside a fold are equal.
    """
    raw_N = np.empty(accepted_N.size)
    for held_N in held_out(fold_N, accepted_N):
        raw_N[held_N] = boosted_log_odds(boost(x_NF[~held_N], accepted_N[~held_N], params, names), x_NF[held_N])
    return raw_N


def boosted_log_odds(booster: lightgbm.Booster, x_NF: NDArray[np.float64]) -> NDArray[np.float64]:
    """`raw_N`: the trees' log-odds."""
    return np.asarray(booster.predict(x_NF, raw_score=True, num_threads=_THREADS), dtype=np.float64)


def gain_shares(booster: lightgbm.Booster, names: Sequence[str]) -> dict[str, float]:
    """Share of the total gain that each column brought, largest first."""
    gain_F = booster.feature_importance("gain")
    total = float(gain_F.sum()) or 1.0
    return dict(sorted(((n, float(g) / total) for n, g in zip(names, gain_F, strict=True)), key=lambda p: -p[1]))


def read_booster(path: Path, columns: int) -> lightgbm.Booster:
    """Trees from their text file.

    Raises:
        ModelError: it is missing, damaged, or has another number of columns.
    """
    try:
        booster = lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
    except (OSError, lightgbm.basic.LightGBMError) as err:
        raise ModelError(f"{path} holds no critic: {err}; fit the critic again") from err
    if booster.num_feature() != columns:
        raise ModelError(f"{path} has {booster.num_feature()} columns, expected {columns}; fit the critic again")
    return booster
