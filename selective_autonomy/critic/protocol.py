"""What every critic is asked for and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.traces.schema import Session


class Critic(Protocol):
    """Scores proposals with the calibrated probability that an operator would accept them."""

    @property
    def kind(self) -> str:
        """Its name in `params.yaml`, see `critic.kinds`."""
        ...

    @property
    def calibration(self) -> str:
        """How raw scores became probabilities, for people to read; it was chosen on the fit split."""
        ...

    @property
    def fit_log_loss(self) -> Mapping[str, float]:
        """Cross-validated log loss on the fit split, nats a row, of each calibration that was tried."""
        ...

    def p_accept(self, befores: Sequence[Session], proposals: Sequence[Proposal]) -> NDArray[np.float64]:
        """`p_accept_N` strictly inside (0, 1), one for each (log before the step, proposal). Empty in, empty out.

        Each depends on its own pair alone: batch equals single.
        """
        ...

    def cuts(self, count: int) -> NDArray[np.float64]:
        """At most `count` thresholds, strictest first, fixed before the calibrate split is looked at.

        They are quantiles of cross-fitted scores of the fit split, as an exact fixed-sequence test wants them.
        """
        ...

    def importances(self) -> dict[str, float]:
        """What the scores rest on: shares that sum to 1, largest first; empty where nothing can be told apart."""
        ...

    def save(self, out: Path) -> None:
        """Write a folder that `critic.kinds.load_critic` reads; it scores exactly as this critic does."""
        ...
