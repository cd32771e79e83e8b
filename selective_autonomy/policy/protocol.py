"""What every policy is asked for and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import Scalar, UIAction
from selective_autonomy.traces.schema import Session

MOST_ALTERNATIVES = 8  # of a proposal: evidence for the critic, not a second ranking


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


@dataclass(frozen=True, slots=True)
class RankedHeads:
    """The legal heads of a step, best first, with their probabilities among one another: `p_A` sums to 1."""

    names: tuple[str, ...]
    p_A: NDArray[np.float64]
    log_p_A: NDArray[np.float64]

    @classmethod
    def of(cls, names: Sequence[str], scores_A: ArrayLike) -> RankedHeads:
        """Softmax of finite scores (nats), sorted; equal scores keep the order of `names`, which is not empty."""
        scores = np.asarray(scores_A, dtype=np.float64)
        log_p = scores - scores.max()
        log_p = log_p - np.log(np.exp(log_p).sum())
        order = np.argsort(-log_p, kind="stable")
        return cls(tuple(names[i] for i in order), np.exp(log_p[order]), log_p[order])

    def without(self, count: int) -> RankedHeads:
        """The ranking without its first `count` heads, probabilities renormalised."""
        return RankedHeads.of(self.names[count:], self.log_p_A[count:])

    def proposal(self, action: UIAction, arguments: Sequence[ArgumentEvidence], log_prob: float) -> Proposal:
        """The proposal of the first head. `log_prob`: nats, of its arguments alone."""
        return Proposal(
            action=action,
            log_prob=min(0.0, float(self.log_p_A[0]) + log_prob),
            entropy=max(0.0, float(-(self.p_A * self.log_p_A).sum())),
            legal_count=len(self.names),
            alternatives=tuple(
                Alternative(head=name, p=min(1.0, float(p)))
                for name, p in zip(self.names[:MOST_ALTERNATIVES], self.p_A, strict=False)
            ),
            arguments=tuple(arguments),
        )


class HeadModel(Protocol):
    """Says which head comes next; deterministic, and batch equals single."""

    def rank_next(self, sessions: Sequence[Session]) -> list[RankedHeads]:
        """The legal heads of each open session, ranked.

        Raises:
            IllegalAction: a session allows no action.
        """
        ...

    def rank_steps(self, session: Session) -> list[RankedHeads]:
        """The same before each operator action of a finished log, each seeing only what came before."""
        ...


@dataclass(frozen=True, slots=True)
class Filled:
    """The arguments of a head and their log-probability (nats, at most 0)."""

    arguments: tuple[ArgumentEvidence, ...] = ()
    log_prob: float = 0.0


class ValueModel(Protocol):
    """Says what goes into the fields of a head; deterministic."""

    def fill(self, session: Session, head: str) -> Filled | None:
        """The arguments of a legal head of an open session; None: a required one has no value to choose."""
        ...


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


@runtime_checkable
class CountsTokens(Protocol):
    """What a policy that reads tokens can also say; the evaluation asks those that can."""

    def tokens_read(self, session: Session) -> int:
        """How many tokens `replay` of this log reads in its prompts; decoded arguments do not count."""
        ...
