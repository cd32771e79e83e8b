"""Validation of sessions: what goes on, what is set aside, what is quarantined, and when everything stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from small_bank import NOW, START, act, ordinary_events

from quality_checks.expectations import TRACE_EXPECTATIONS
from quality_checks.results import ExpectationOutcome, ValidationResult
from quality_checks.traces import validate_traces
from selective_autonomy.desk.process import load_desk_process
from selective_autonomy.desk.simulate import simulate_sessions
from selective_autonomy.params import ValidationParams
from selective_autonomy.process.actions import CloseChat, SendReply, SendTextToChat, SubmitForm
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import CopilotFeedback, CustomerMessage, Outcome, ProposalShown, Session

Build = Callable[..., Session]


def by_name(result: ValidationResult) -> dict[str, ExpectationOutcome]:
    return {o.name: o for o in result.outcomes}


@pytest.fixture
def judge(schema: ProcessSchema, params: ValidationParams, session: Build) -> Callable[..., ValidationResult]:
    """Validates the given sessions among 40 good ones."""

    def run(*odd: Session, **kwargs: object) -> ValidationResult:
        return validate_traces([*odd, *(session() for _ in range(40))], schema, params, now=NOW, **kwargs)

    return run


def test_good_sessions_pass_every_expectation(judge: Callable[..., ValidationResult]) -> None:
    result = judge()
    assert [o.name for o in result.outcomes if not o.success] == []
    assert [o.name for o in result.outcomes] == [spec.name for spec in TRACE_EXPECTATIONS]
    assert (len(result.good), result.set_aside, result.quarantined, result.blocks) == (40, [], [], False)


def test_a_bad_session_is_quarantined_with_every_reason(judge: Callable[..., ValidationResult], session: Build) -> None:
    late, early = NOW + timedelta(days=3), START
    events = (
        *act(
            SubmitForm(form="block", values={"pin": "1"}), SendTextToChat(text="mail me: a.b@example.org"), start=late
        ),
        CustomerMessage(at=early, text="back in time"),
        CopilotFeedback(at=early, proposal_id="never shown", verdict="correct"),
    )
    bad = session(
        process_id="shop", operator_id="ann@example.org", procedures=("balance", "card", "loans"), events=events
    )
    result = judge(bad)
    [held] = result.quarantined
    assert held.session == bad
    assert set(held.reasons) == {
        "process_is_the_expected_one",
        "procedures_are_known",
        "operator_id_is_a_pseudonym",
        "events_are_in_time_order",
        "no_event_is_in_the_future",
        "no_gap_is_absurd",
        "feedback_answers_a_shown_proposal",
        "logged_correction_has_a_reason",
        "every_action_is_legal",
        "free_text_holds_no_personal_data",
    }
    assert any(d.startswith("procedures_are_known: loans") for d in held.details)
    assert bad not in result.good


def test_each_illegal_step_is_named_with_its_reason(judge: Callable[..., ValidationResult], session: Build) -> None:
    events = act(SubmitForm(form="lookup", values={}), CloseChat(), SendReply(template="greet"))
    result = judge(session(events=events, procedures=("balance",)))
    [held] = result.quarantined
    assert held.reasons == ("every_action_is_legal",)
    assert [d.split(": ")[1] for d in held.details] == ["step 0", "step 2"]
    assert by_name(result)["every_action_is_legal"].n_failed == 2


def test_all_of_a_thousand_failing_rows_are_kept(
    schema: ProcessSchema, params: ValidationParams, session: Build
) -> None:
    bad = [session(operator_id="two words", events=()) for _ in range(1000)]
    texts = [session(events=act(SendTextToChat(text="a@b.org"), start=START + timedelta(hours=i))) for i in range(1000)]
    result = validate_traces([*bad, *texts], schema, params, now=START + timedelta(days=100))
    outcomes = by_name(result)
    assert outcomes["operator_id_is_a_pseudonym"].failing_ids == tuple(s.session_id for s in bad)
    assert outcomes["finished_session_has_a_step"].failing_ids == tuple(s.session_id for s in bad)
    assert outcomes["free_text_holds_no_personal_data"].failing_ids == tuple(s.session_id for s in texts)
    assert outcomes["free_text_holds_no_personal_data"].n_failed == 1000
    assert len(result.quarantined) == 2000
    assert all(len(q.reasons) == 2 for q in result.quarantined[:1000])


def test_a_share_of_bad_sessions_over_the_limit_blocks(judge: Callable[..., ValidationResult], session: Build) -> None:
    two = judge(*(session(operator_id="") for _ in range(2)))
    assert two.bad_share == pytest.approx(2 / 42)
    assert not two.blocks
    three = judge(*(session(operator_id="") for _ in range(3)))
    assert three.bad_share == pytest.approx(3 / 43)
    assert three.blocks
    assert [o.name for o in three.outcomes if o.blocking and not o.success] == ["few_sessions_are_bad"]


def test_unfinished_sessions_are_set_aside_and_are_not_bad(
    judge: Callable[..., ValidationResult], session: Build
) -> None:
    early = session(outcome=Outcome(status="abandoned"), events=())
    cut = session(outcome=Outcome(status="open"))
    broken = session(outcome=Outcome(status="abandoned"), operator_id="")
    result = judge(early, cut, broken)
    assert result.set_aside == [early, cut]
    assert [q.reasons for q in result.quarantined] == [("operator_id_is_a_pseudonym", "outcome_is_complete")]
    assert result.bad_share == pytest.approx(1 / 41)
    assert by_name(result)["outcome_is_complete"].failing_ids == tuple(s.session_id for s in (early, cut, broken))
    assert by_name(result)["outcome_is_complete"].severity == "warning"


def test_every_session_ends_up_in_exactly_one_place(judge: Callable[..., ValidationResult], session: Build) -> None:
    odd = [session(operator_id=""), session(outcome=Outcome()), session(process_version="0")]
    result = judge(*odd)
    ids = [s.session_id for s in (*result.good, *result.set_aside, *(q.session for q in result.quarantined))]
    assert len(ids) == len(set(ids)) == 43
    assert odd[2] in result.good, "a version that is not current is reported, and goes on"


def test_the_first_of_two_copies_goes_on(judge: Callable[..., ValidationResult], session: Build) -> None:
    original = session()
    copy = original.model_copy(update={"session_id": "copy"})
    result = judge(original, copy)
    assert original in result.good
    [held] = result.quarantined
    assert held.session == copy
    assert held.reasons == ("log_is_no_copy",)
    assert held.details == (f"log_is_no_copy: {original.session_id}",)


def test_a_log_that_arrives_twice_is_kept_once(judge: Callable[..., ValidationResult], session: Build) -> None:
    original = session()
    result = judge(original, original)
    assert result.good.count(original) == 1
    assert len(result.quarantined) == 1


def test_two_logs_under_one_id_are_both_quarantined(judge: Callable[..., ValidationResult], session: Build) -> None:
    result = judge(session(session_id="same"), session(session_id="same"))
    assert [q.reasons for q in result.quarantined] == [("session_id_is_unambiguous",)] * 2
    assert by_name(result)["session_id_is_unambiguous"].n_failed == 2


@pytest.mark.parametrize(
    ("text", "leaks"),
    [
        ("Write to ann.lee+1@example.co.uk please", True),
        ("Your card 4111 1111 1111 1111 12/26 is blocked", True),
        ("IBAN DE89 3704 0044 0532 0130 00 was noted", True),
        ("Call (555) 010-4477 tomorrow", True),
        ("The account 8431893143 is yours", True),  # typed into a PII field before
        ("Order 1234567890 costs 1,299.00 and comes on 2024-05-06 at 10:30", False),
        ("4111 1111 1111 1112 fails the Luhn check", False),
        ("Thanks Ann, that is all @ our desk", False),
    ],
)
def test_personal_data_in_what_the_operator_writes_is_found(
    judge: Callable[..., ValidationResult], session: Build, text_events: Callable, text: str, leaks: bool
) -> None:
    result = judge(session(events=text_events(text), procedures=("balance",)))
    assert [q.reasons for q in result.quarantined] == ([("free_text_holds_no_personal_data",)] if leaks else [])
    assert not any(text in d for q in result.quarantined for d in q.details)


def test_a_reply_slot_leaks_only_if_it_is_not_marked_for_personal_data(
    judge: Callable[..., ValidationResult], session: Build
) -> None:
    leak = act(SubmitForm(form="lookup", values={"account": "8431893143"}),
               SendReply(template="greet", slots={"name": "8431893143"}))  # fmt: skip
    result = judge(session(events=leak, procedures=("balance",)))
    assert [q.reasons for q in result.quarantined] == [("free_text_holds_no_personal_data",)]


def test_a_gap_of_more_than_a_day_is_absurd(judge: Callable[..., ValidationResult], session: Build) -> None:
    result = judge(session(events=act(SendReply(template="greet"), every=25 * 3600)))
    assert [q.reasons for q in result.quarantined] == [("no_gap_is_absurd",)]
    assert result.quarantined[0].details == ("no_gap_is_absurd: 25.0",)


def test_feedback_that_answers_one_proposal_twice_is_bad(
    judge: Callable[..., ValidationResult], session: Build
) -> None:
    shown = ProposalShown(at=START, proposal_id="p", action=CloseChat())
    answer = CopilotFeedback(at=START, proposal_id="p", verdict="accept")
    once = session(events=(shown, answer, *ordinary_events(START)))
    twice = session(events=(shown, answer, answer, *ordinary_events(START)))
    result = judge(once, twice)
    assert [q.session for q in result.quarantined] == [twice]


def test_no_sessions_at_all_block(schema: ProcessSchema, params: ValidationParams) -> None:
    result = validate_traces([], schema, params, now=NOW)
    assert result.blocks
    assert {o.name for o in result.outcomes if o.blocking and not o.success} == {
        "a_good_session_is_left",
        "few_sessions_are_bad",
    }


def test_thin_coverage_is_reported_and_does_not_block(
    schema: ProcessSchema, params: ValidationParams, session: Build
) -> None:
    sessions = [session(operator_id="op-1", procedures=("balance",)) for _ in range(10)]
    result = validate_traces(sessions, schema, params, now=NOW)
    outcomes = by_name(result)
    assert not result.blocks
    assert not outcomes["there_are_enough_operators"].success
    assert outcomes["there_are_enough_operators"].observed == "1"
    assert not outcomes["no_operator_dominates"].success
    assert outcomes["every_procedure_has_enough_sessions"].failing_ids == ("card",)


def test_a_session_on_a_procedure_of_another_process_version_is_reported(
    judge: Callable[..., ValidationResult], session: Build
) -> None:
    outcome = by_name(judge(session(process_version="0", session_id="old")))["process_version_is_current"]
    assert (outcome.success, outcome.severity, outcome.failing_ids) == (False, "warning", ("old",))


def test_outcomes_are_plain_values(judge: Callable[..., ValidationResult], session: Build) -> None:
    result = judge(session(operator_id=""))
    assert json.loads(json.dumps([vars(o) for o in result.outcomes]))


def test_sessions_of_the_embedded_desk_go_on(params: ValidationParams) -> None:
    sessions = simulate_sessions(20, 24)
    result = validate_traces(sessions, load_desk_process(), params)
    assert [(q.reasons, q.details) for q in result.quarantined] == []
    assert len(result.good) == 24
    assert not result.blocks
