"""Replay: put a policy's proposal beside every logged step, each seeing only what came before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from selective_autonomy.errors import ContractError, NoProposal
from selective_autonomy.frozen import Frozen
from selective_autonomy.policy.protocol import Policy, Proposal
from selective_autonomy.traces.schema import CorrectReason, Session, Verdict
from selective_autonomy.traces.screen import Step, steps


@dataclass(frozen=True)
class ReplayedStep:
    """A logged step and what the policy would have proposed in its place."""

    step: Step
    proposal: Proposal

    @property
    def session_id(self) -> str:
        return self.step.session.session_id


class Judgement(Frozen):
    """An operator's answer to one proposal in a copilot stage.

    `truly_wrong`: what the desk knows, None where no truth is known (logs of real operators).
    """

    verdict: Verdict
    reason: CorrectReason | None = None
    seconds: float | None = None
    truly_wrong: bool | None = None


class FeedbackSource(Protocol):
    """Who judges proposals: simulated operators of the embedded desk, or the log of real ones."""

    def judge(self, session: Session, proposals: Sequence[Proposal]) -> list[Judgement]:
        """One judgement per step of the session, in order; `proposals` as `Policy.replay` gave them."""
        ...


def replay(
    policy: Policy, sessions: Sequence[Session], *, on_session: Callable[[], None] | None = None
) -> list[ReplayedStep]:
    """Replay sessions through a policy; `on_session` is called after each, for progress.

    Raises:
        ContractError: the policy answered another number of proposals than the session has steps.
    """
    replayed: list[ReplayedStep] = []
    for session in sessions:
        logged = list(steps(session))
        proposals = policy.replay(session)
        if len(proposals) != len(logged):
            raise ContractError(
                f"policy gave {len(proposals)} proposals for session {session.session_id!r}, expected {len(logged)}"
            )
        replayed += [ReplayedStep(step, proposal) for step, proposal in zip(logged, proposals, strict=True)]
        if on_session is not None:
            on_session()
    return replayed


def replay_each(policy: Policy, sessions: Sequence[Session]) -> tuple[list[ReplayedStep], list[Step]]:
    """Replay step by step a policy that may have no proposal: the steps it answered, and those it did not.

    Both are needed for an honest figure: `evaluate_policy` counts the unanswered ones as wrong.
    """
    answered: list[ReplayedStep] = []
    unanswered: list[Step] = []
    for session in sessions:
        for step in steps(session):
            try:
                (proposal,) = policy.propose([step.before])
            except NoProposal:
                unanswered.append(step)
            else:
                answered.append(ReplayedStep(step, proposal))
    return answered, unanswered
