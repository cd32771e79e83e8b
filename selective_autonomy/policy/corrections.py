"""Corrections: steps where an operator did something else than was proposed, and how training takes them back.

Each makes two records. What was proposed is rejected: a label for the critic, the worse half of a preference pair.
What the operator did is a target for the policy, at this step alone: the rest of its session is context.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from selective_autonomy.errors import ContractError
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.process.actions import UIAction
from selective_autonomy.process.comparison import Level, same_action
from selective_autonomy.traces.schema import CopilotFeedback, OperatorAction, ProposalShown, Session
from selective_autonomy.traces.screen import Step, steps


@dataclass(frozen=True)
class Correction:
    """A corrected step: `step` is the operator's own action, `rejected` the proposal that it replaced."""

    step: Step
    rejected: UIAction

    @property
    def session_id(self) -> str:
        return self.step.session.session_id


def replayed_corrections(
    session: Session, proposals: Sequence[Proposal], level: Level = "loose"
) -> Iterator[Correction]:
    """The steps of a log of which a replayed policy proposed something else than the operator did.

    Args:
        proposals: one a step, as `Policy.replay` gives them.
        level: when a proposal counts as the operator's own. "loose" by default: two free texts that differ in words
            may say the same, so a log alone does not show that an operator would have rejected one for the other.

    Raises:
        ContractError: there are more or fewer proposals than steps.
    """
    logged = list(steps(session))
    if len(logged) != len(proposals):
        raise ContractError(
            f"got {len(proposals)} proposals for session {session.session_id!r}, expected {len(logged)}, one a step"
        )
    for step, proposal in zip(logged, proposals, strict=True):
        if not same_action(proposal.action, step.action, level):
            yield Correction(step, proposal.action)


def logged_corrections(session: Session) -> Iterator[Correction]:
    """The corrections in the log of a copilot stage: a proposal shown, answered "correct", and what was done then.

    A proposal that no feedback answers before the next action is no evidence either way and yields nothing.
    """
    shown: dict[str, UIAction] = {}
    rejected: UIAction | None = None
    by_position = {step.position: step for step in steps(session)}
    for position, event in enumerate(session.events):
        match event:
            case ProposalShown():
                shown[event.proposal_id] = event.action
            case CopilotFeedback():
                rejected = shown.get(event.proposal_id) if event.verdict == "correct" else None
            case OperatorAction():
                if rejected is not None:
                    yield Correction(by_position[position], rejected)
                rejected = None


def corrected_steps(corrections: Iterable[Correction]) -> dict[str, frozenset[int]]:
    """The choice of steps that trains on corrections only: session id -> event positions of its corrected steps."""
    positions: dict[str, set[int]] = defaultdict(set)
    for correction in corrections:
        positions[correction.session_id].add(correction.step.position)
    return {session_id: frozenset(found) for session_id, found in positions.items()}
