"""A desk that keeps the truth about every step done on it: for evaluation, never for who works the cases."""

from __future__ import annotations

from collections import defaultdict

from selective_autonomy.desk.adapter import CaseView, Receipt
from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.truth import Verdict, judge
from selective_autonomy.process.actions import UIAction
from selective_autonomy.traces.schema import Outcome


class JudgedDesk:
    """Implements `desk.adapter.Desk` by an `EmbeddedDesk` and notes the verdict on each action that was done.

    `verdicts` maps a case to its verdicts by state digest: at most one action is ever done on a state.
    """

    def __init__(self, desk: EmbeddedDesk) -> None:
        self.embedded = desk
        self.verdicts: defaultdict[str, dict[str, Verdict]] = defaultdict(dict)

    def open_case(self, case_id: str) -> CaseView:
        return self.embedded.open_case(case_id)

    def read_case(self, case_id: str) -> CaseView:
        return self.embedded.read_case(case_id)

    def perform(
        self, case_id: str, action: UIAction, *, state_digest: str, idempotency_key: str, by: str, seconds: float
    ) -> Receipt:
        """Do the action on the desk; the verdict on it is kept only if it was done."""
        verdict = judge(self.embedded.case(case_id), action)
        receipt = self.embedded.perform(
            case_id, action, state_digest=state_digest, idempotency_key=idempotency_key, by=by, seconds=seconds
        )
        if not receipt.repeated:
            self.verdicts[case_id][state_digest] = verdict
        return receipt

    def outcome(self, case_id: str) -> Outcome:
        return self.embedded.outcome(case_id)
