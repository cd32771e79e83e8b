"""Copilot feedback from the desk's own operators, who know the case: rebuild it, re-do it, review each proposal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from selective_autonomy.desk.case import Case
from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.operators import SimulatedOperator, draw_crew
from selective_autonomy.desk.process import DATA_DIR, DESK_VERSION
from selective_autonomy.desk.truth import judge
from selective_autonomy.errors import ContractError, IllegalAction, TraceError
from selective_autonomy.evaluation.replay import Judgement
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.process.actions import UIAction
from selective_autonomy.traces.schema import CopilotFeedback, Event, OperatorAction, ProposalShown, Session


class DeskFeedback:
    """Implements `evaluation.replay.FeedbackSource` for sessions of the embedded desk.

    Each logged action is done again on a rebuilt case; before it, the session's operator reviews the
    proposal of that step. Deterministic. A log that does not come out the same is an error, never a guess.
    """

    def __init__(self, seed: int, *, data_dir: Path = DATA_DIR) -> None:
        self._desk = EmbeddedDesk(seed, data_dir=data_dir)
        self._crew = {name: SimulatedOperator(operator, seed) for name, operator in draw_crew(seed).items()}

    @property
    def crew(self) -> tuple[str, ...]:
        """The ids of the desk's operators."""
        return tuple(sorted(self._crew))

    def judge(self, session: Session, proposals: Sequence[Proposal]) -> list[Judgement]:
        """One judgement per step of the session, in order.

        Raises:
            ContractError: another number of proposals than the session has steps.
            TraceError: the session is not of this desk, version and seed, or its log does not replay.
        """
        cases = self._worked_again(session)
        if len(proposals) != (count := sum(isinstance(event, OperatorAction) for event in session.events)):
            raise ContractError(
                f"{len(proposals)} proposals for session {session.session_id!r}, expected {count}: one for each step"
            )
        operator = self._crew[self._of_the_crew(session.operator_id, session)]
        return [operator.review(case, proposal.action) for case, proposal in zip(cases, proposals, strict=True)]

    def judge_again(
        self, session: Session, asked: Mapping[int, Sequence[tuple[str, UIAction]]]
    ) -> dict[int, list[Judgement]]:
        """What other operators of the crew say of actions at some steps, each as if the case lay before them.

        Args:
            asked: index of a step -> (operator id, action) pairs; any action, so also a planted one.

        Returns:
            Index of a step -> one judgement for each pair, in order.

        Raises:
            ContractError: a step that the session does not have.
            TraceError: as `judge`, or an operator who is not of the crew.
        """
        said = {
            index: [
                self._crew[self._of_the_crew(who, session)].review(case, action) for who, action in asked.get(index, ())
            ]
            for index, case in enumerate(self._worked_again(session))
        }
        if unknown := sorted(asked.keys() - said.keys()):
            raise ContractError(
                f"session {session.session_id!r} has no steps {unknown}, expected indices from 0 to {len(said) - 1}"
            )
        return {index: said[index] for index in asked}

    def _worked_again(self, session: Session) -> Iterator[Case]:
        """The case as it stood before each step, one after the other; the log is checked on the way."""
        self._check_origin(session)
        logged = [e for e in session.events if not isinstance(e, ProposalShown | CopilotFeedback)]
        case = self._desk.new_case(session.labels["case"])
        for position, event in enumerate(logged):
            if not isinstance(event, OperatorAction):
                continue
            _check_same(session, case.events, logged[:position])
            yield case
            right = judge(case, event.action).standing != "wrong"
            seconds = (event.at - case.now).total_seconds()
            try:
                case.apply(event.action, seconds, event.by, right=right)
            except IllegalAction as err:
                raise TraceError(
                    f"session {session.session_id!r}, event {position} cannot be done again: {err}"
                ) from err
        _check_same(session, case.events, logged)

    def _check_origin(self, session: Session) -> None:
        expected = {"desk_version": DESK_VERSION, "desk_seed": str(self._desk.seed)}
        got = {key: session.labels.get(key) for key in expected}
        if got != expected or "case" not in session.labels:
            raise TraceError(
                f"session {session.session_id!r} has labels {got}, expected {expected} and a case; "
                "only sessions of this desk can be worked again"
            )

    def _of_the_crew(self, operator_id: str, session: Session) -> str:
        if operator_id not in self._crew:
            raise TraceError(
                f"session {session.session_id!r} names {operator_id!r}, who is not of this desk's crew; "
                f"expected one of {sorted(self._crew)}"
            )
        return operator_id


def _check_same(session: Session, got: Sequence[Event], expected: Sequence[Event]) -> None:
    if list(got) != list(expected):
        at = next(
            (i for i, (g, e) in enumerate(zip(got, expected, strict=False)) if g != e), min(len(got), len(expected))
        )
        raise TraceError(
            f"session {session.session_id!r} does not replay: event {at} differs from what the desk does; "
            "the log was altered or comes from another desk version"
        )
