"""What the session engine asks of a person."""

from __future__ import annotations

from typing import Protocol

from selective_autonomy.evaluation.replay import Judgement
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.process.actions import UIAction


class Operator(Protocol):
    """A person at the desk. Both methods look at the case as the desk shows it now and do nothing to it."""

    @property
    def operator_id(self) -> str:
        """A pseudonym."""
        ...

    def act(self, case_id: str) -> tuple[UIAction, float]:
        """What the operator does next without a proposal, and the active seconds it takes to get there."""
        ...

    def review(self, case_id: str, proposal: Proposal) -> Judgement:
        """Accept or correct a proposal; `seconds` of the judgement is the time to look and answer."""
        ...
