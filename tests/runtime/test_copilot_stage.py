"""The copilot stage: a person judges every proposal, what is accepted is done, and all of it can be learned from."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dagster_project.judged_steps import judged_in
from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.operators import SimulatedOperator, draw_crew
from selective_autonomy.desk.truth import moves
from selective_autonomy.errors import IllegalAction, ModelError
from selective_autonomy.gate import Defer
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.policy.scripted import certain
from selective_autonomy.process.actions import SubmitForm, UIAction
from selective_autonomy.runtime.copilot import Copilot
from selective_autonomy.runtime.desk_operator import DeskOperator
from selective_autonomy.runtime.engine import work_case
from selective_autonomy.runtime.worked import WorkedCase
from selective_autonomy.traces.schema import CopilotFeedback, ProposalShown, Session

SEED, CASE = 5, "new-000001"


class Proposes:
    """A policy that proposes what it is told."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def propose(self, befores: Sequence[Session]) -> list[Proposal]:
        answer = self._answer(befores[0]) if callable(self._answer) else self._answer
        if isinstance(answer, Exception):
            raise answer
        return [certain(answer)]


def _worked(answer: object) -> tuple[EmbeddedDesk, WorkedCase]:
    desk = EmbeddedDesk(SEED)
    person = SimulatedOperator(next(iter(draw_crew(SEED).values())), SEED)

    def told(before: Session) -> UIAction:
        return moves(desk.case(before.session_id))[0].action

    copilot = Copilot(Proposes(answer or told), desk.schema)  # type: ignore[arg-type]
    return desk, work_case(desk, CASE, copilot, DeskOperator(desk, person), stage="copilot")


@pytest.mark.parametrize("stage", ["copilot", "selective"])
def test_nothing_executes_whatever_the_stage(stage: str) -> None:
    desk = EmbeddedDesk(SEED)
    desk.open_case(CASE)
    session = desk.case(CASE).session
    right = moves(desk.case(CASE))[0].action
    decided = Copilot(Proposes(right), desk.schema).decide(session, stage=stage)  # type: ignore[arg-type]
    assert decided.decision.outcome == "defer"
    assert decided.proposal is not None


def test_every_proposal_is_judged_and_what_is_accepted_is_done() -> None:
    _, case = _worked(None)
    assert case.status == "closed"
    judged = judged_in(case, "fit")
    assert len(judged) == len(case.steps)
    for one, step in zip(judged, case.steps, strict=True):
        assert one.replayed.step.action == step.action
        if one.judgement.verdict == "accept":
            assert step.action == one.proposal.action
        assert not any(isinstance(e, ProposalShown | CopilotFeedback) for e in one.before.events)
    assert sum(one.judgement.verdict == "accept" for one in judged) > len(judged) / 2
    assert {one.judgement.truly_wrong for one in judged} == {False}


def test_a_policy_that_fails_or_does_what_the_screen_forbids_leaves_the_step_to_the_person() -> None:
    for answer, reason in (
        (ModelError("broken"), "internal_error"),
        (SubmitForm(form="no_such_form", values={}), "illegal_action"),
        (IllegalAction("nothing is open"), "no_legal_action"),
    ):
        _, case = _worked(answer)
        assert case.status == "closed"
        assert {step.by for step in case.steps} == {"operator"}
        assert all(step.decided is not None and step.decided.decision == Defer(reason=reason) for step in case.steps)
        assert judged_in(case, "fit") == []
