"""What every critic is asked for and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.traces.schema import Session


class Critic(Protocol):
    """Scores proposals with the calibrated probability that an operator would accept them."""

    def p_accept(self, befores: Sequence[Session], proposals: Sequence[Proposal]) -> NDArray[np.float64]:
        """`p_accept_N` in [0, 1], one for each (log before the step, proposal). Empty in, empty out."""
        ...
