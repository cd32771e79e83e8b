"""What training a policy tells while it runs and when it is done; the same words for every kind of policy."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from selective_autonomy.frozen import Frozen


class TrainingProgress(Frozen):
    """After one optimiser step: `step` of `total` (1-based), its loss (nats), speed so far (0: unknown)."""

    step: int
    total: int
    loss: float
    tokens_per_second: float = 0.0


OnStep = Callable[[TrainingProgress], None]


class TrainingReport(Frozen):
    """What training did. `losses`: nats, one per optimiser step; empty where nothing is learned in steps.

    `truncated_sessions`: did not fit the context whole. Read as context and never learned: `unknown_actions`, steps
    whose action the process schema does not know, and, where heads are scored among the legal ones, `illegal_actions`,
    steps whose action the screen did not allow. `tokens` were read in all epochs together, in `seconds` of
    training; `learned_tokens` had a loss in one epoch. `resumed_at`: the optimiser step at which this run went on.
    """

    sessions: int
    seconds: float = Field(ge=0)
    parameters: int = 0
    truncated_sessions: int = 0
    unknown_actions: int = 0
    illegal_actions: int = 0
    examples: int = 0
    learned_tokens: int = 0
    steps: int = 0
    tokens: int = 0
    losses: tuple[float, ...] = ()
    resumed_at: int = 0
