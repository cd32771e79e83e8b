"""What every policy is asked for and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import Field

from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import Scalar, UIAction
from selective_autonomy.traces.schema import Session


class Alternative(Frozen):
    """A legal head and its probability among the legal heads."""

    head: str
    p: float = Field(ge=0, le=1)


class ArgumentEvidence(Frozen):
    """How one argument came about: `p` = probability of the value's tokens under constrained decoding.

    `copied`: the value stands word for word in the log before the step. `field` is the field or slot id,
    or "text" / "query" for free text.
    """

    field: str
    value: Scalar
    p: float = Field(ge=0, le=1)
    copied: bool


class Proposal(Frozen):
    """The policy's next action with the evidence it leaves behind.

    `alternatives`: the most likely legal heads, best first, the proposed one included (at most 8; their
    probabilities sum to at most 1). `log_prob`: nats, head and arguments together, at most 0.
    `entropy`: nats, over all legal heads. `legal_count`: how many heads were legal.
    """

    action: UIAction
    log_prob: float = Field(le=0)
    entropy: float = Field(ge=0)
    legal_count: int = Field(ge=1)
    alternatives: tuple[Alternative, ...] = Field(min_length=1)
    arguments: tuple[ArgumentEvidence, ...] = ()

    @property
    def p_head(self) -> float:
        """Probability of the proposed head among the legal ones."""
        return self.alternatives[0].p


class Policy(Protocol):
    """A next-action model. Deterministic: the same log gives the same proposal."""

    def propose(self, sessions: Sequence[Session]) -> list[Proposal]:
        """The next action for each open session, in order. Batch equals single.

        Raises:
            IllegalAction: a session allows no action (closed, or an unknown procedure).
        """
        ...

    def replay(self, session: Session) -> list[Proposal]:
        """One proposal before each operator action of a finished log, each seeing only what came before.

        Equal to `propose` on every `step.before`, in one forward pass.
        """
        ...
