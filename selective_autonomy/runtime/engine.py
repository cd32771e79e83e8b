"""The session engine: propose, decide, act once, hand off, resume. One case at a time, from opening to close."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, TypeVar

from selective_autonomy.decision import Decider, StepDecision
from selective_autonomy.desk.adapter import CaseView, Desk
from selective_autonomy.errors import DeskError, DeskUnreachable, IllegalAction, StaleScreen
from selective_autonomy.evaluation.replay import Judgement
from selective_autonomy.gate import Defer, Stage
from selective_autonomy.process.actions import UIAction
from selective_autonomy.runtime.binding import step_key
from selective_autonomy.runtime.feedback_store import FeedbackRecord
from selective_autonomy.runtime.operator import Operator
from selective_autonomy.runtime.worked import CaseStatus, WorkedCase, WorkedStep
from selective_autonomy.traces.schema import CopilotFeedback, Event, Outcome, ProposalShown, Session
from selective_autonomy.traces.screen import state_digest

logger = logging.getLogger(__name__)

# Cases take 8-15 steps. After this many the gated system is going in circles and a person works the rest; after
# twice as many the case is given up.
MAX_STEPS = 40
# A critical action that ran by itself so often in a case did not help: a person looks before it runs again.
MAX_SAME = 2
# A screen that moves on while a step is decided is read and decided again; one that never holds still goes to the
# person.
MAX_STALE = 5
# Waits before the desk is asked again after it did not answer, in seconds.
RETRY_SECONDS = (0.2, 1.0, 5.0)
# The paper's readers report 253 s on cases handed off against 227 s on cases worked by hand from the start.
HANDOVER_SECONDS = 26.0

T = TypeVar("T")


def work_cases(
    desk: Desk,
    case_ids: Sequence[str],
    decider: Decider | None,
    operator_for: Callable[[str], Operator],
    *,
    stage: Stage,
    on_case: Callable[[WorkedCase], None] | None = None,
    handover_seconds: float = HANDOVER_SECONDS,
    on_feedback: Callable[[FeedbackRecord], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[WorkedCase]:
    """Work cases one after another. `operator_for` names who works a case; `on_case` is called after each."""
    worked: list[WorkedCase] = []
    for case_id in case_ids:
        case = work_case(
            desk,
            case_id,
            decider,
            operator_for(case_id),
            stage=stage,
            handover_seconds=handover_seconds,
            on_feedback=on_feedback,
            clock=clock,
        )
        worked.append(case)
        if on_case is not None:
            on_case(case)
    return worked


def work_case(
    desk: Desk,
    case_id: str,
    decider: Decider | None,
    operator: Operator,
    *,
    stage: Stage,
    handover_seconds: float = HANDOVER_SECONDS,
    max_steps: int = MAX_STEPS,
    on_feedback: Callable[[FeedbackRecord], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[float], None] = time.sleep,
) -> WorkedCase:
    """Work one case to its close.

    A step that the decider lets execute is done on the desk, bound to the state it was decided on and under an
    idempotency key of its own, so that no retry does it twice. A deferred one goes to the operator: with the
    proposal, where there is one, to accept or correct. The case goes on from the screen as the person left it.

    Args:
        decider: None: nobody is asked and the operator does every step (the all-human control).
        stage: in stage "logging" the decider is not asked either.
        handover_seconds: operator time to find into a case that ran on by itself; charged once a case, at the first
            step that follows an executed one.
        on_feedback: called with each answer before the step is done; what it raises ends the work on the case.
        clock: seconds, monotonic; times the decider. `pause`: waits that many seconds.

    Raises:
        DeskError: the desk does not know the case, shows it without any event, or refuses the operator's action.
        StoreError: from `on_feedback`.
    """
    asked = None if stage == "logging" else decider
    case = _Case(desk, case_id, asked, operator, stage, handover_seconds, max_steps, on_feedback, clock, pause)
    return case.work()


@dataclass
class _Case:
    """One case while it is worked. `shown`: proposals and answers, each with its place in the desk's log."""

    desk: Desk
    case_id: str
    decider: Decider | None
    operator: Operator
    stage: Stage
    handover_seconds: float
    max_steps: int
    on_feedback: Callable[[FeedbackRecord], object] | None
    clock: Callable[[], float]
    pause: Callable[[float], None]
    steps: list[WorkedStep] = field(default_factory=list)
    shown: list[tuple[int, Event]] = field(default_factory=list)
    stale: int = 0

    def work(self) -> WorkedCase:
        view = self._asking_again(lambda: self.desk.open_case(self.case_id))
        status: CaseStatus = "closed"
        try:
            while not view.closed:
                if len(self.steps) >= 2 * self.max_steps or self.stale > 2 * MAX_STALE:
                    status = "too_long"
                    break
                try:
                    self._step(view)
                except StaleScreen:
                    self.stale += 1
                view = self._asking_again(lambda: self.desk.read_case(self.case_id))
        except DeskUnreachable as err:
            logger.warning("case %r is left to a person: %s", self.case_id, err)
            status = "unreachable"
        return WorkedCase(case_id=self.case_id, status=status, log=self._log(view, status), steps=tuple(self.steps))

    def _step(self, view: CaseView) -> None:
        """Get one step done, by whoever may do it. StaleScreen: the case moved on and nothing was done."""
        session = self._session(view)
        digest = state_digest(session)
        if self.decider is None or len(self.steps) >= self.max_steps or self.stale > MAX_STALE:
            self._operator_acts(digest, None)
            return
        started = self.clock()
        decided = self.decider.decide(session, stage=self.stage)
        if decided.decision.outcome == "execute" and self._goes_in_circles(decided):
            decided = decided.model_copy(update={"decision": Defer(reason="repeated_action"), "audit": None})
        if decided.decision.outcome == "execute":
            decided = self._execute(decided, digest, self.clock() - started)
        if decided.decision.outcome == "defer":
            self._hand_off(view, digest, decided)

    def _goes_in_circles(self, decided: StepDecision) -> bool:
        """The decided critical action ran by itself often enough in this case."""
        if decided.proposal is None or decided.tier == "routine":
            return False
        action = decided.proposal.action
        return sum(step.by == "autonomy" and step.action == action for step in self.steps) >= MAX_SAME

    def _execute(self, decided: StepDecision, digest: str, seconds: float) -> StepDecision:
        """Do the decided step. The answer is the decision as it came out: a Defer if it was not carried out."""
        if decided.proposal is None or decided.state_digest != digest:
            return decided.model_copy(update={"decision": Defer(reason="internal_error"), "audit": None})
        try:
            self._do("autonomy", decided.proposal.action, digest, seconds, decided)
        except IllegalAction as err:
            logger.warning("case %r: the desk refused what was decided: %s", self.case_id, err)
            return decided.model_copy(update={"decision": Defer(reason="illegal_action"), "audit": None})
        return decided

    def _hand_off(self, view: CaseView, digest: str, decided: StepDecision) -> None:
        """The operator takes the step: reviews the proposal, or acts alone where there is none."""
        if decided.proposal is None:
            self._operator_acts(digest, decided)
            return
        proposed = decided.proposal.action
        judgement = self.operator.review(self.case_id, decided.proposal)
        if judgement.verdict == "accept":
            self._answered(view, digest, decided, proposed, judgement)
            try:
                self._do("operator", proposed, digest, judgement.seconds or 0.0, decided, judgement)
                return
            except IllegalAction as err:
                logger.warning("case %r: the desk refused what was accepted: %s", self.case_id, err)
        action, seconds = self.operator.act(self.case_id)
        if judgement.verdict == "correct":
            self._answered(view, digest, decided, proposed, judgement, action)
        self._do("operator", action, digest, (judgement.seconds or 0.0) + seconds, decided, judgement)

    def _operator_acts(self, digest: str, decided: StepDecision | None) -> None:
        action, seconds = self.operator.act(self.case_id)
        self._do("operator", action, digest, seconds, decided)

    def _do(
        self,
        by: Literal["operator", "autonomy"],
        action: UIAction,
        digest: str,
        seconds: float,
        decided: StepDecision | None,
        judgement: Judgement | None = None,
    ) -> None:
        """Do one action on the desk, exactly once, and write it down."""
        after_autonomy = by == "operator" and bool(self.steps) and self.steps[-1].by == "autonomy"
        charged = any(step.handover_seconds for step in self.steps)
        handover = self.handover_seconds if after_autonomy and not charged else 0.0
        key = step_key(digest, action)
        self._asking_again(
            lambda: self.desk.perform(
                self.case_id, action, state_digest=digest, idempotency_key=key, by=by, seconds=seconds + handover
            )
        )
        self.steps.append(
            WorkedStep(
                by=by,
                action=action,
                state_digest=digest,
                seconds=seconds,
                handover_seconds=handover,
                decided=decided,
                judgement=judgement,
            )
        )

    def _answered(
        self,
        view: CaseView,
        digest: str,
        decided: StepDecision,
        proposed: UIAction,
        judgement: Judgement,
        instead: UIAction | None = None,
    ) -> None:
        """Make the operator's answer durable and put it, with the proposal, into the log."""
        proposal_id = step_key(digest, proposed)
        reason = judgement.reason or "other" if judgement.verdict == "correct" else None
        if self.on_feedback is not None:
            record = FeedbackRecord(
                idempotency_key=proposal_id,
                process_id=view.process_id,
                session_id=self.case_id,
                proposal_id=proposal_id,
                verdict=judgement.verdict,
                reason=reason,
                action=instead,
                operator_id=self.operator.operator_id,
                seconds=judgement.seconds,
            )
            self.on_feedback(record)
        at = view.events[-1].at
        shown = ProposalShown(
            at=at,
            proposal_id=proposal_id,
            action=proposed,
            p_accept=decided.p_accept,
            bundle_digest=decided.bundle_digest,
        )
        answer = CopilotFeedback(
            at=at + timedelta(seconds=judgement.seconds or 0.0),
            proposal_id=proposal_id,
            verdict=judgement.verdict,
            reason=reason,
            seconds=judgement.seconds,
        )
        self.shown += [(len(view.events), shown), (len(view.events), answer)]

    def _asking_again(self, ask: Callable[[], T]) -> T:
        """Ask the desk until it answers. An action keeps its idempotency key, so that asking again is safe."""
        for seconds in RETRY_SECONDS:
            try:
                return ask()
            except DeskUnreachable as err:
                logger.info("case %r: %s; asking again in %.1f s", self.case_id, err, seconds)
                self.pause(seconds)
        return ask()

    def _session(self, view: CaseView) -> Session:
        if not view.events:
            raise DeskError(f"the desk shows case {self.case_id!r} without any event; expected at least its opening")
        return Session(
            session_id=view.case_id,
            process_id=view.process_id,
            process_version=view.process_version,
            procedures=view.procedures,
            operator_id=self.operator.operator_id,
            source="desk",
            events=view.events,
        )

    def _log(self, view: CaseView, status: CaseStatus) -> Session:
        """The desk's log as last seen, with proposals and answers in their places."""
        events: list[Event] = []
        for position, event in enumerate(view.events):
            events += [shown for place, shown in self.shown if place == position]
            events.append(event)
        outcome = Outcome(status="complete" if status == "closed" else "open")
        return self._session(view).model_copy(update={"events": tuple(events), "outcome": outcome})
