"""Simulated sessions: reproducible, legal, varied, and re-done by the feedback source."""

from __future__ import annotations

from datetime import timedelta

import pytest

from selective_autonomy.desk.customers import Customer
from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.feedback import DeskFeedback
from selective_autonomy.desk.operators import SimulatedOperator, draw_crew
from selective_autonomy.desk.process import DESK_VERSION, load_desk_process
from selective_autonomy.desk.simulate import simulate_sessions
from selective_autonomy.desk.truth import judge, moves
from selective_autonomy.errors import ContractError, TraceError
from selective_autonomy.evaluation.replay import FeedbackSource
from selective_autonomy.policy.protocol import Alternative, Proposal
from selective_autonomy.process.actions import SendTextToChat, UIAction, head
from selective_autonomy.process.legality import check_action
from selective_autonomy.traces.schema import CustomerMessage, Session
from selective_autonomy.traces.screen import derive_screen, steps

SEED = 20


def _propose(action: UIAction) -> Proposal:
    return Proposal(
        action=action, log_prob=-0.1, entropy=0.1, legal_count=9, alternatives=(Alternative(head=head(action), p=0.9),)
    )


def test_the_same_seed_gives_the_same_logs_however_many_are_asked_for(sessions: list[Session]) -> None:
    assert simulate_sessions(SEED, 12) == sessions[:12]


def test_progress_is_told_after_each_case() -> None:
    told: list[None] = []
    simulate_sessions(3, 4, lambda: told.append(None))
    assert len(told) == 4


def test_every_operator_action_is_legal_on_its_screen(sessions: list[Session]) -> None:
    schema = load_desk_process()
    for session in sessions[:300]:
        for step in steps(session):
            check_action(schema, derive_screen(step.before), step.action)


def test_sessions_say_where_they_come_from_and_run_in_time_order(sessions: list[Session]) -> None:
    for session in sessions:
        times = [event.at for event in session.events]
        assert times == sorted(times)
        assert session.session_id == session.labels["case"]
        assert session.labels["desk_version"] == DESK_VERSION == session.process_version
        assert session.labels["desk_seed"] == str(SEED)
        assert derive_screen(session).closed
        assert session.outcome.status == "complete"
    starts = [session.events[0].at for session in sessions]
    assert timedelta(days=50) < max(starts) - min(starts) < timedelta(days=61)
    assert {session.labels["stratum"] for session in sessions} == {p.id for p in load_desk_process().procedures}


def test_customers_word_the_same_wish_in_many_ways(sessions: list[Session]) -> None:
    openings = [next(e.text for e in s.events if isinstance(e, CustomerMessage)) for s in sessions]
    assert len(set(openings)) > 0.9 * len(openings)


def test_customers_forget_mistype_stray_and_change_their_mind(desk: EmbeddedDesk) -> None:
    cases = [desk.new_case(f"case-{number}").facts for number in range(400)]
    assert sum(bool(case.firsts) for case in cases) > 60
    assert sum(bool(case.cut) for case in cases) > 10
    assert sum(bool(case.looks_for) for case in cases) > 60
    assert sum(case.second == "instead" for case in cases) > 10
    assert sum(case.off_topic_at > 0 for case in cases) > 60


def test_a_customer_gives_a_wrong_number_first_and_the_right_one_when_asked_again(desk: EmbeddedDesk) -> None:
    facts = next(
        facts
        for number in range(400)
        if (facts := desk.new_case(f"case-{number}").facts).firsts.get("account_number")
        and not facts.cut | facts.early
        and not (facts.looks_for or facts.off_topic_at or facts.second)
    )
    customer = Customer(facts, desk.new_case("case-1").wording, SEED)
    customer.asked(["account_number"])
    assert customer.told["account_number"] == facts.firsts["account_number"]
    customer.doubt("account_number")
    customer.asked(["account_number"])
    assert customer.told["account_number"] == facts.truths["account_number"]


def test_operators_differ_in_reliability_speed_and_taste_within_bounds() -> None:
    crew = draw_crew(SEED)
    assert len(crew) == 24
    assert all(0.02 <= operator.error_rate <= 0.12 for operator in crew.values())
    assert len({round(operator.speed, 3) for operator in crew.values()}) > 12
    assert len({round(operator.taste["warm"], 3) for operator in crew.values()}) > 12


def test_asking_an_operator_twice_or_another_in_between_changes_nothing(desk: EmbeddedDesk) -> None:
    crew, case = draw_crew(SEED), desk.new_case("case-4")
    one, other = SimulatedOperator(crew["op-01"], SEED), SimulatedOperator(crew["op-02"], SEED)
    first = one.choose(case)
    other.choose(case)
    assert one.choose(case) == first


def test_feedback_accepts_most_right_proposals_and_corrects_most_wrong_ones(sessions: list[Session]) -> None:
    source: FeedbackSource = DeskFeedback(SEED)
    desk = EmbeddedDesk(SEED)
    right_ones, wrong_ones = [], []
    for session in sessions[:40]:
        case, best = desk.new_case(session.labels["case"]), []
        for step in steps(session):
            best.append(_propose(moves(case)[0].action))
            right = judge(case, step.action).standing != "wrong"
            case.apply(step.action, step.seconds or 0.0, "operator", right=right)
        right_ones += source.judge(session, best)
        wrong_ones += source.judge(session, [_propose(SendTextToChat(text="lorem ipsum"))] * len(best))
    assert not any(judgement.truly_wrong for judgement in right_ones)
    assert all(judgement.truly_wrong for judgement in wrong_ones)
    assert sum(judgement.verdict == "accept" for judgement in right_ones) > 0.85 * len(right_ones)
    assert sum(judgement.verdict == "correct" for judgement in wrong_ones) > 0.85 * len(wrong_ones)
    assert all((judgement.reason is None) == (judgement.verdict == "accept") for judgement in right_ones + wrong_ones)
    assert all(judgement.seconds and judgement.seconds > 0 for judgement in right_ones)
    assert {judgement.reason for judgement in right_ones} >= {None, "acceptable"}


def test_feedback_is_the_same_every_time(sessions: list[Session]) -> None:
    session = sessions[5]
    proposals = [_propose(step.action) for step in steps(session)]
    assert DeskFeedback(SEED).judge(session, proposals) == DeskFeedback(SEED).judge(session, proposals)


def test_a_colleague_judges_a_proposal_as_if_the_case_were_theirs(sessions: list[Session]) -> None:
    session, source = sessions[5], DeskFeedback(SEED)
    proposals = [_propose(step.action) for step in steps(session)]
    first = source.judge(session, proposals)
    crew = source.crew
    asked = {1: [(who, proposals[1].action) for who in crew], 0: [(crew[0], SendTextToChat(text="lorem ipsum"))]}
    again = source.judge_again(session, asked)
    assert list(again) == [1, 0]
    assert again[1][crew.index(session.operator_id)] == first[1]
    assert len({one.seconds for one in again[1]}) > 12
    assert {one.truly_wrong for one in again[1]} == {first[1].truly_wrong}
    assert again[0][0].truly_wrong


def test_only_a_colleague_and_a_step_of_the_session_can_be_asked_for(sessions: list[Session]) -> None:
    source = DeskFeedback(SEED)
    with pytest.raises(TraceError, match="not of this desk's crew"):
        source.judge_again(sessions[5], {0: [("op-99", SendTextToChat(text="hello"))]})
    with pytest.raises(ContractError, match="no steps \\[999\\]"):
        source.judge_again(sessions[5], {999: [("op-01", SendTextToChat(text="hello"))]})


def test_feedback_refuses_a_log_that_the_desk_would_not_have_written(sessions: list[Session]) -> None:
    session = sessions[0]
    proposals = [_propose(step.action) for step in steps(session)]
    message = next(i for i, e in enumerate(session.events) if isinstance(e, CustomerMessage))
    forged = session.events[message].model_copy(update={"text": "something else"})
    altered = session.model_copy(update={"events": (*session.events[:message], forged, *session.events[message + 1 :])})
    with pytest.raises(TraceError, match=f"event {message} differs"):
        DeskFeedback(SEED).judge(altered, proposals)
    with pytest.raises(TraceError, match="labels"):
        DeskFeedback(SEED + 1).judge(session, proposals)
    with pytest.raises(ContractError, match="one for each step"):
        DeskFeedback(SEED).judge(session, proposals[:-1])
