"""What the engine reports of the cases it worked. What was right and wrong is the desk's to say, not ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from selective_autonomy.decision import StepDecision
from selective_autonomy.evaluation.replay import Judgement
from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import UIAction
from selective_autonomy.traces.schema import CopilotFeedback, ProposalShown, Session

CaseStatus = Literal["closed", "too_long", "unreachable"]


class WorkedStep(Frozen):
    """One action that was done.

    Args:
        decided: the decision that the step came from; None where nobody was asked (logging stage, or the case
            had been handed over wholly).
        judgement: the operator's answer, where a proposal was shown.
        seconds: the actor's time on this step, without `handover_seconds`.
        handover_seconds: what it cost the operator to find into a case that had run on by itself.
    """

    by: Literal["operator", "autonomy"]
    action: UIAction
    state_digest: str
    seconds: float
    handover_seconds: float = 0.0
    decided: StepDecision | None = None
    judgement: Judgement | None = None

    @property
    def critical(self) -> bool:
        """Gated. A step without a proposal counts as gated: it was not let through."""
        return self.decided is None or self.decided.tier != "routine"


class WorkedCase(Frozen):
    """One case as the engine left it.

    `status`: closed; `too_long`: given up after the hard limit of steps; `unreachable`: the desk stopped answering,
    so whether the last action was done is unknown. `log` holds the desk's events with the proposals shown and the
    answers to them in their places.
    """

    case_id: str
    status: CaseStatus
    log: Session
    steps: tuple[WorkedStep, ...]

    @property
    def desk_log(self) -> Session:
        """The log as the desk has it: what a policy and a critic see."""
        said = (ProposalShown, CopilotFeedback)
        return self.log.model_copy(update={"events": tuple(e for e in self.log.events if not isinstance(e, said))})

    @property
    def touched(self) -> bool:
        """A person did at least one step."""
        return any(step.by == "operator" for step in self.steps)

    @property
    def active_seconds(self) -> float:
        """Operator seconds on the case, hand-over included."""
        return sum(step.seconds + step.handover_seconds for step in self.steps if step.by == "operator")

    @property
    def executed(self) -> tuple[WorkedStep, ...]:
        """Critical steps that ran by themselves."""
        return tuple(step for step in self.steps if step.critical and step.by == "autonomy")

    @property
    def deferred(self) -> tuple[WorkedStep, ...]:
        """Critical steps that a person did."""
        return tuple(step for step in self.steps if step.critical and step.by == "operator")


class RunTotals(Frozen):
    """Sums over worked cases. `session_coverage`: closed without a person; shares are 0 where there is nothing."""

    sessions: int
    sessions_automated: int
    sessions_closed: int
    steps_executed: int
    steps_deferred: int
    steps_routine: int
    defer_reasons: dict[str, int]
    accepted: int
    corrected: int
    active_seconds: float
    handover_seconds: float

    @property
    def session_coverage(self) -> float:
        return self.sessions_automated / self.sessions if self.sessions else 0.0

    @property
    def step_coverage(self) -> float:
        """Executed among critical steps."""
        critical = self.steps_executed + self.steps_deferred
        return self.steps_executed / critical if critical else 0.0


def total(cases: Sequence[WorkedCase]) -> RunTotals:
    """Add up worked cases; all zero for none."""
    steps = [step for case in cases for step in case.steps]
    decisions = [step.decided.decision for step in steps if step.decided is not None]
    verdicts = Counter(step.judgement.verdict for step in steps if step.judgement is not None)
    return RunTotals(
        sessions=len(cases),
        sessions_automated=sum(case.status == "closed" and not case.touched for case in cases),
        sessions_closed=sum(case.status == "closed" for case in cases),
        steps_executed=sum(len(case.executed) for case in cases),
        steps_deferred=sum(len(case.deferred) for case in cases),
        steps_routine=sum(not step.critical for step in steps),
        defer_reasons=dict(Counter(d.reason for d in decisions if d.outcome == "defer")),
        accepted=verdicts["accept"],
        corrected=verdicts["correct"],
        active_seconds=sum(case.active_seconds for case in cases),
        handover_seconds=sum(step.handover_seconds for step in steps),
    )
