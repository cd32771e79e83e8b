"""The policy's own probability as a critic: no new evidence, only a calibration. The floor of every table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selective_autonomy.critic.by_action import Calibrated, Calibration, types_of
from selective_autonomy.critic.card import read_card, write_card
from selective_autonomy.critic.cross_fitting import checked_labels, held_out, session_folds
from selective_autonomy.errors import ModelError
from selective_autonomy.params import PolicyProbabilityParams
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.traces.schema import Session

Whole = Literal["head", "action"]
_LEAST_ODDS = 1e-12  # log-odds stay finite where rounding leaves a probability of 0 or 1


class PolicyProbabilityCritic(Calibrated):
    """Implements `Critic`: a calibrated `p_head`, or `exp(log_prob)`, of head and arguments together.

    `of`: whose probability it is. Where feedback is about the head alone, what is said of arguments is noise; where it
    is about the whole action, it is half of the matter.
    """

    kind = "policy_probability"

    def __init__(self, of: Whole, calibration: Calibration) -> None:
        self.of, self._calibration = of, calibration

    @classmethod
    def fit(
        cls,
        befores: Sequence[Session],
        proposals: Sequence[Proposal],
        accepted_N: ArrayLike,
        params: PolicyProbabilityParams,
    ) -> PolicyProbabilityCritic:
        """Choose, by cross-validated log loss, head or action, and the calibration. Sees: fit only.

        Raises:
            ModelError: as `BoostedCritic.fit`.
        """
        accepted = checked_labels(accepted_N, len(befores))
        fold_N = session_folds([before.session_id for before in befores], params.seed)
        for _ in held_out(fold_N, accepted):
            pass  # refuses feedback of one class
        wholes: tuple[Whole, ...] = ("head", "action")
        tried = {
            of: Calibration.fit(log_odds(proposals, of), types_of(proposals), accepted, fold_N, params.calibration)
            for of in wholes
        }
        best = min(wholes, key=lambda of: tried[of].log_loss["chosen"])
        return cls(best, tried[best])

    def p_accept(self, befores: Sequence[Session], proposals: Sequence[Proposal]) -> NDArray[np.float64]:
        """`p_accept_N` strictly inside (0, 1); the logs are not looked at."""
        if len(befores) != len(proposals):
            raise ModelError(f"got {len(befores)} logs and {len(proposals)} proposals; give one log a proposal")
        return self._calibration(log_odds(proposals, self.of), types_of(proposals))

    def importances(self) -> dict[str, float]:
        return {"p_head" if self.of == "head" else "log_prob": 1.0}

    def save(self, out: Path) -> None:
        """Write the calibration and, last, `critic.json` into `out`."""
        out.mkdir(parents=True, exist_ok=True)
        self._calibration.save(out)
        write_card(out, self.kind, of=self.of)

    @classmethod
    def load(cls, path: Path) -> PolicyProbabilityCritic:
        """Read what `save` wrote.

        Raises:
            ModelError: a file is missing or damaged.
        """
        of = read_card(path).get("of")
        if of not in ("head", "action"):
            raise ModelError(f"{path} is a critic of {of!r}, expected 'head' or 'action'; fit the critic again")
        return cls(of, Calibration.load(path))


def log_odds(proposals: Sequence[Proposal], of: Whole) -> NDArray[np.float64]:
    """`raw_N`: log-odds of the proposed head, or of the whole action; finite."""
    p_N = np.array([p.p_head if of == "head" else np.exp(p.log_prob) for p in proposals], dtype=np.float64)
    p_N = np.clip(p_N, _LEAST_ODDS, 1 - _LEAST_ODDS)
    return np.asarray(np.log(p_N) - np.log1p(-p_N))
