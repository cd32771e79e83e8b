"""Cases of the embedded desk, worked by deciders that are right, wrong, unsure, late or on an unsteady desk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from selective_autonomy.decision import StepDecision
from selective_autonomy.desk.adapter import CaseView, Receipt
from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.operators import SimulatedOperator, draw_crew
from selective_autonomy.desk.simulate import work_case_by_hand
from selective_autonomy.desk.truth import moves
from selective_autonomy.errors import DeskUnreachable, StoreError
from selective_autonomy.gate import Defer, Execute, Stage
from selective_autonomy.policy.scripted import certain
from selective_autonomy.process.actions import SendReply, TransferChat, UIAction
from selective_autonomy.runtime.desk_operator import DeskOperator
from selective_autonomy.runtime.engine import HANDOVER_SECONDS, MAX_SAME, MAX_STALE, MAX_STEPS, work_case, work_cases
from selective_autonomy.runtime.feedback_store import FeedbackRecord
from selective_autonomy.runtime.worked import WorkedCase, total
from selective_autonomy.traces.schema import CopilotFeedback, OperatorAction, ProposalShown, Session
from selective_autonomy.traces.screen import state_digest

SEED = 5
CASE = "new-000001"


class Knowing:
    """Decides with the desk's own truth; `executes` says which steps (counted from 0) run by themselves."""

    def __init__(self, desk: EmbeddedDesk, executes: Callable[[int], bool], *, proposes: bool = True) -> None:
        self._desk, self._executes, self._proposes = desk, executes, proposes
        self.asked: list[str] = []

    def decide(self, session: Session, *, stage: Stage = "selective") -> StepDecision:
        index = len(self.asked)
        self.asked.append(state_digest(session))
        proposal = certain(moves(self._desk.case(session.session_id))[0].action)
        return StepDecision(
            decision=Execute() if self._executes(index) else Defer(reason="below_threshold"),
            state_digest=state_digest(session),
            proposal=proposal if self._proposes else None,
            tier="critical",
            p_accept=0.9,
            threshold=0.8,
            bundle_digest="d",
        )


class Told:
    """Decides what it is told, right or not."""

    def __init__(self, answer: Callable[[Session], StepDecision]) -> None:
        self._answer = answer

    def decide(self, session: Session, *, stage: Stage = "selective") -> StepDecision:
        return self._answer(session)


class Unsteady:
    """The embedded desk on a bad line: some answers get lost, some before and some after the action was done."""

    def __init__(self, desk: EmbeddedDesk, lost: Callable[[int], str]) -> None:
        self._desk, self._lost = desk, lost
        self.calls = 0

    def _over_the_line(self, ask: Callable[[], Any]) -> Any:
        fate = self._lost(self.calls)
        self.calls += 1
        if fate == "before":
            raise DeskUnreachable("the request got lost")
        answer = ask()
        if fate == "after":
            raise DeskUnreachable("the answer got lost")
        return answer

    def open_case(self, case_id: str) -> CaseView:
        return self._over_the_line(lambda: self._desk.open_case(case_id))

    def read_case(self, case_id: str) -> CaseView:
        return self._over_the_line(lambda: self._desk.read_case(case_id))

    def perform(self, case_id: str, action: UIAction, **how: Any) -> Receipt:
        return self._over_the_line(lambda: self._desk.perform(case_id, action, **how))


@pytest.fixture
def desk() -> EmbeddedDesk:
    return EmbeddedDesk(SEED)


@pytest.fixture
def operator(desk: EmbeddedDesk) -> DeskOperator:
    return DeskOperator(desk, _person())


def _person() -> SimulatedOperator:
    return SimulatedOperator(draw_crew(SEED)["op-03"], SEED)


def _work(
    desk: EmbeddedDesk, decider: Any, operator: DeskOperator, stage: Stage = "selective", **how: Any
) -> WorkedCase:
    return work_case(how.pop("at", desk), CASE, decider, operator, stage=stage, **{"clock": lambda: 0.0, **how})


def _done(log: Session) -> list[OperatorAction]:
    return [event for event in log.events if isinstance(event, OperatorAction)]


def test_a_case_that_always_executes_is_closed_without_a_person(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    case = _work(desk, Knowing(desk, lambda _: True), operator)
    assert case.status == "closed"
    assert not case.touched
    assert case.active_seconds == 0
    assert len(case.executed) == len(case.steps) >= 3
    assert {event.by for event in _done(case.log)} == {"autonomy"}
    assert desk.outcome(CASE).answers["solved"] is True
    assert case.log.outcome.status == "complete"


def test_a_case_that_always_defers_is_worked_by_the_person_with_the_proposals(
    desk: EmbeddedDesk, operator: DeskOperator
) -> None:
    case = _work(desk, Knowing(desk, lambda _: False), operator)
    assert case.status == "closed"
    assert case.executed == ()
    assert {step.by for step in case.steps} == {"operator"}
    assert all(step.judgement is not None for step in case.steps)
    assert case.active_seconds == pytest.approx(sum(step.seconds for step in case.steps)), "no hand-over: never alone"
    shown = [event for event in case.log.events if isinstance(event, ProposalShown)]
    answers = [event for event in case.log.events if isinstance(event, CopilotFeedback)]
    assert len(shown) == len(answers) == len(case.steps)
    assert [event.proposal_id for event in shown] == [event.proposal_id for event in answers]
    for event, answer, done in zip(shown, answers, _done(case.log), strict=True):
        assert (answer.verdict == "accept") == (done.action == event.action)
    assert len({event.proposal_id for event in shown}) == len(shown)


def test_proposals_and_answers_stand_right_before_the_step_they_led_to(
    desk: EmbeddedDesk, operator: DeskOperator
) -> None:
    case = _work(desk, Knowing(desk, lambda index: index % 2 == 0), operator)
    kinds = [event.kind for event in case.log.events]
    for position, kind in enumerate(kinds):
        if kind == "proposal":
            assert kinds[position + 1 : position + 3] == ["feedback", "operator_action"]
    own = tuple(e for e in case.log.events if e.kind not in ("proposal", "feedback"))
    assert own == desk.read_case(CASE).events
    assert [event.at for event in case.log.events] == sorted(event.at for event in case.log.events)


def test_finding_into_a_case_that_ran_by_itself_is_charged_once(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    case = _work(desk, Knowing(desk, lambda index: index % 2 == 0), operator)
    first = case.steps[1]
    assert [step.by for step in case.steps[:3]] == ["autonomy", "operator", "autonomy"]
    assert [step.handover_seconds for step in case.steps if step.handover_seconds] == [HANDOVER_SECONDS]
    assert first.handover_seconds == HANDOVER_SECONDS
    expected = sum(step.seconds for step in case.steps if step.by == "operator") + HANDOVER_SECONDS
    assert case.active_seconds == pytest.approx(expected)


@pytest.mark.parametrize("stage", ["selective", "logging"])
def test_the_all_human_control_is_what_the_desk_logs_by_hand(
    desk: EmbeddedDesk, operator: DeskOperator, stage: Stage
) -> None:
    decider = None if stage == "selective" else Knowing(desk, lambda _: True)
    case = _work(desk, decider, operator, stage)
    assert case.log.events == work_case_by_hand(EmbeddedDesk(SEED), CASE, _person()).events
    assert all(step.decided is None for step in case.steps)
    assert decider is None or decider.asked == []


def test_without_a_proposal_the_person_acts_alone(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    case = _work(desk, Knowing(desk, lambda _: False, proposes=False), operator)
    assert case.status == "closed"
    assert all(step.judgement is None for step in case.steps)
    assert not any(isinstance(event, ProposalShown) for event in case.log.events)


@pytest.mark.parametrize(
    "change", [{"state_digest": "of another state"}, {"proposal": None}], ids=["another state", "no action"]
)
def test_an_execute_that_is_not_sound_is_never_done(
    desk: EmbeddedDesk, operator: DeskOperator, change: dict[str, Any]
) -> None:
    knowing = Knowing(desk, lambda _: True)
    case = _work(desk, Told(lambda session: knowing.decide(session).model_copy(update=change)), operator)
    assert {step.by for step in case.steps} == {"operator"}
    assert total([case]).defer_reasons == {"internal_error": len(case.steps)}


def test_what_the_desk_refuses_goes_to_the_person(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    illegal = certain(TransferChat(queue="no such queue"))

    def answer(session: Session) -> StepDecision:
        return StepDecision(decision=Execute(), state_digest=state_digest(session), proposal=illegal, tier="critical")

    case = _work(desk, Told(answer), operator)
    assert case.status == "closed"
    assert case.executed == ()
    assert total([case]).defer_reasons == {"illegal_action": len(case.steps)}


def test_a_lost_answer_never_does_a_step_twice(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    """Every third call gets lost, in turn before and after it was carried out."""
    fates = {1: "before", 4: "after"}
    line = Unsteady(desk, lambda call: fates.get(call % 6, ""))
    pauses: list[float] = []
    case = _work(desk, Knowing(desk, lambda _: True), operator, at=line, pause=pauses.append)
    quiet = EmbeddedDesk(SEED)
    undisturbed = _work(quiet, Knowing(quiet, lambda _: True), DeskOperator(quiet, _person()))
    assert pauses
    assert case.status == "closed"
    assert case.log.events == undisturbed.log.events


def test_a_desk_that_stays_away_leaves_the_case_open_for_a_person(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    line = Unsteady(desk, lambda call: "" if call < 4 else "before")
    case = _work(desk, Knowing(desk, lambda _: True), operator, at=line, pause=lambda _: None)
    assert case.status == "unreachable"
    assert case.log.outcome.status == "open"
    assert total([case]).sessions_automated == 0


def test_a_screen_that_moves_on_is_decided_again(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    """Somebody else does one step between the decision and the action."""
    knowing = Knowing(desk, lambda _: True)
    moved: list[str] = []

    def answer(session: Session) -> StepDecision:
        decided = knowing.decide(session)
        if not moved:
            action, seconds = operator.act(CASE)
            moved.append(state_digest(session))
            desk.perform(
                CASE, action, state_digest=moved[0], idempotency_key="someone else", by="operator", seconds=seconds
            )
        return decided

    case = _work(desk, Told(answer), operator)
    assert case.status == "closed"
    assert knowing.asked[0] == moved[0]
    assert moved[0] not in [step.state_digest for step in case.steps], "nothing was done on the state that had gone"
    assert len(_done(case.log)) == len(case.steps) + 1


def test_a_decider_that_never_sees_the_present_gives_way_to_the_person(
    desk: EmbeddedDesk, operator: DeskOperator
) -> None:
    class Restless(Unsteady):
        """Takes no action of the autonomy's: the screen has always just changed."""

        def perform(self, case_id: str, action: UIAction, **how: Any) -> Receipt:
            if how["by"] == "autonomy":
                how["state_digest"] = "gone"
            return super().perform(case_id, action, **how)

    knowing = Knowing(desk, lambda _: True)
    case = _work(desk, knowing, operator, at=Restless(desk, lambda _: ""))
    assert case.status == "closed"
    assert case.executed == ()
    assert len(knowing.asked) == MAX_STALE + 1


def test_a_case_that_goes_in_circles_is_handed_over_whole(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    knowing = Knowing(desk, lambda _: True)
    case = _work(desk, knowing, operator, max_steps=2)
    assert case.status in ("closed", "too_long")
    assert [step.by for step in case.steps[:3]] == ["autonomy", "autonomy", "operator"]
    assert len(knowing.asked) == 2
    assert len(case.steps) <= 4
    assert MAX_STEPS > 15


def test_what_ran_twice_and_did_not_help_goes_to_a_person(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    asks = SendReply(template="recheck_postcode", slots={})

    def again(session: Session) -> StepDecision:
        return StepDecision(
            decision=Execute(), state_digest=state_digest(session), proposal=certain(asks), tier="critical"
        )

    case = _work(desk, Told(again), operator)
    assert sum(step.by == "autonomy" for step in case.steps) == MAX_SAME
    circling = next(step for step in case.steps if step.by == "operator")
    assert circling.decided is not None
    assert circling.decided.decision == Defer(reason="repeated_action")
    assert case.status == "closed"


def test_every_answer_is_durable_before_the_step_is_done(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    kept: list[tuple[FeedbackRecord, int]] = []

    def keep(record: FeedbackRecord) -> None:
        kept.append((record, len(desk.read_case(CASE).events)))

    case = _work(desk, Knowing(desk, lambda _: False), operator, on_feedback=keep)
    assert [record.verdict for record, _ in kept] == [s.judgement.verdict for s in case.steps if s.judgement]
    assert all(record.action is not None for record, _ in kept if record.verdict == "correct")
    positions = [p for p, e in enumerate(desk.read_case(CASE).events) if isinstance(e, OperatorAction)]
    assert [events for _, events in kept] == positions


def test_feedback_that_cannot_be_kept_stops_the_case(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    def fail(record: FeedbackRecord) -> None:
        raise StoreError("disk full")

    with pytest.raises(StoreError, match="disk full"):
        _work(desk, Knowing(desk, lambda _: False), operator, on_feedback=fail)
    assert not any(isinstance(event, OperatorAction) for event in desk.read_case(CASE).events)


def test_machine_time_is_no_active_time(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    ticks = iter(range(10_000))
    case = _work(desk, Knowing(desk, lambda _: True), operator, clock=lambda: float(next(ticks)))
    assert {step.seconds for step in case.steps} == {1.0}
    assert case.active_seconds == 0


def test_many_cases_add_up(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    seen: list[str] = []
    ids = [f"new-{number:06d}" for number in range(6)]
    asked = Knowing(desk, lambda index: index % 3 != 0)
    cases = work_cases(
        desk, ids, asked, lambda _: operator, stage="selective", on_case=lambda case: seen.append(case.case_id)
    )
    sums = total(cases)
    assert seen == ids
    assert sums.sessions == sums.sessions_closed == 6
    assert sums.steps_executed == sum(len(case.executed) for case in cases) > 0
    assert sums.steps_deferred == sum(sums.defer_reasons.values()) == sums.accepted + sums.corrected > 0
    assert sums.step_coverage == sums.steps_executed / (sums.steps_executed + sums.steps_deferred)
    assert sums.sessions_automated == sum(not case.touched for case in cases)
    assert sums.handover_seconds == HANDOVER_SECONDS * sum(case.touched and bool(case.executed) for case in cases)
    assert total([]).step_coverage == total([]).session_coverage == 0.0


def test_routine_steps_are_counted_apart(desk: EmbeddedDesk, operator: DeskOperator) -> None:
    knowing = Knowing(desk, lambda _: True)
    case = _work(desk, Told(lambda s: knowing.decide(s).model_copy(update={"tier": "routine"})), operator)
    sums = total([case])
    assert (sums.steps_executed, sums.steps_deferred, sums.steps_routine) == (0, 0, len(case.steps))
    assert not case.touched
