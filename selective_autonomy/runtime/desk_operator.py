"""The embedded desk's simulated people, as the session engine asks them."""

from __future__ import annotations

from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.operators import SimulatedOperator
from selective_autonomy.evaluation.replay import Judgement
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.process.actions import UIAction


class DeskOperator:
    """Implements `runtime.operator.Operator`: one simulated operator, looking at the live cases of one desk."""

    def __init__(self, desk: EmbeddedDesk, person: SimulatedOperator) -> None:
        self._desk, self._person = desk, person

    @property
    def operator_id(self) -> str:
        return self._person.operator.id

    def act(self, case_id: str) -> tuple[UIAction, float]:
        """See `Operator.act`. Raises DeskError for a closed case."""
        return self._person.choose(self._desk.case(case_id))

    def review(self, case_id: str, proposal: Proposal) -> Judgement:
        """See `Operator.review`; `truly_wrong` of the judgement is the desk's truth."""
        return self._person.review(self._desk.case(case_id), proposal.action)
