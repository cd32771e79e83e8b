"""Replay: put a policy's proposal beside every logged step, each seeing only what came before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from selective_autonomy.errors import ContractError, NoProposal
from selective_autonomy.frozen import Frozen
from selective_autonomy.policy.protocol import CountsTokens, Policy, Proposal
from selective_autonomy.traces.schema import CorrectReason, Session, Verdict
from selective_autonomy.traces.screen import Step, steps


@dataclass(frozen=True)
class ReplayedStep:
    """A logged step and what the policy would have proposed in its place.

    `seconds`: the policy's wall-clock time for it, an equal share of its session's replay; `tokens`: the same of what
    the policy read. None: not measured, or a policy that reads no tokens. Neither takes part in comparisons.
    """

    step: Step
    proposal: Proposal
    seconds: float | None = field(default=None, compare=False)
    tokens: float | None = field(default=None, compare=False)

    @property
    def session_id(self) -> str:
        return self.step.session.session_id


class ReplayCost(Frozen):
    """What a step cost the policy on average in a replay: wall-clock seconds, tokens read. None: not known.

    A replay may work on all steps of a session at once; a step that is asked for by itself can cost more.
    """

    seconds_a_step: float | None = None
    tokens_a_step: float | None = None

    @classmethod
    def of(cls, replayed: Sequence[ReplayedStep]) -> ReplayCost:
        """The means over the steps; None where a step lacks its share: the mean of some is no cost of all."""
        seconds, tokens = [r.seconds for r in replayed], [r.tokens for r in replayed]
        return cls(seconds_a_step=_mean(seconds), tokens_a_step=_mean(tokens))


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
    policy: Policy,
    sessions: Sequence[Session],
    *,
    on_session: Callable[[], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[ReplayedStep]:
    """Replay sessions through a policy; `on_session` is called after each, for progress.

    Args:
        clock: seconds, read before and after `policy.replay` of each session and nothing else.

    Raises:
        ContractError: the policy answered another number of proposals than the session has steps.
    """
    replayed: list[ReplayedStep] = []
    for session in sessions:
        logged = list(steps(session))
        started = clock()
        proposals = policy.replay(session)
        seconds = clock() - started
        if len(proposals) != len(logged):
            raise ContractError(
                f"policy gave {len(proposals)} proposals for session {session.session_id!r}, expected {len(logged)}"
            )
        tokens = policy.tokens_read(session) if isinstance(policy, CountsTokens) else None
        replayed += [
            ReplayedStep(
                step,
                proposal,
                seconds=seconds / len(logged),
                tokens=None if tokens is None else tokens / len(logged),
            )
            for step, proposal in zip(logged, proposals, strict=True)
        ]
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


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
