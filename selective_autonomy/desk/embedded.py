"""The embedded desk: the adapter protocol in process, over BPMN flows and simulated customers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from selective_autonomy.desk.adapter import CaseView, Receipt
from selective_autonomy.desk.bpmn import Flows
from selective_autonomy.desk.case import Case
from selective_autonomy.desk.consistency import check_desk
from selective_autonomy.desk.process import DATA_DIR, load_desk_process
from selective_autonomy.desk.truth import judge
from selective_autonomy.desk.wording import Wording
from selective_autonomy.errors import DeskError, StaleScreen
from selective_autonomy.process.actions import UIAction
from selective_autonomy.traces.schema import Outcome
from selective_autonomy.traces.screen import state_digest


class EmbeddedDesk:
    """A desk whose cases are drawn from (seed, case id). Implements `desk.adapter.Desk`.

    The digest that `perform` checks is `state_digest` of the view as a session whose id is the case id.
    Not safe for use by several threads at once.
    """

    def __init__(self, seed: int, *, data_dir: Path = DATA_DIR) -> None:
        self.seed = seed
        self.schema = load_desk_process(data_dir)
        self._wording = Wording.load(data_dir / "desk_wording")
        self._flows = Flows.load(data_dir / "bpmn")
        check_desk(self.schema, self._flows, self._wording)
        self._cases: dict[str, Case] = {}
        self._receipts: dict[tuple[str, str], Receipt] = {}

    def open_case(self, case_id: str) -> CaseView:
        """Open (or look again at) a case.

        Raises:
            DeskError: the id is not `case-<number>` or `new-<number>`.
        """
        if case_id not in self._cases:
            self._cases[case_id] = self.new_case(case_id)
        return self.read_case(case_id)

    def new_case(self, case_id: str) -> Case:
        """A fresh copy of a case that this desk does not keep: for simulation and replay."""
        return Case(self.schema, self._wording, self._flows, self.seed, case_id)

    def case(self, case_id: str) -> Case:
        """The live case with its truth; for simulated people and evaluation, never for a policy.

        Raises:
            DeskError: the case was not opened.
        """
        if case_id not in self._cases:
            raise DeskError(f"case {case_id!r} is not open on this desk; call open_case first")
        return self._cases[case_id]

    def read_case(self, case_id: str) -> CaseView:
        """The case as it stands.

        Raises:
            DeskError: the case was not opened.
        """
        case = self.case(case_id)
        session = case.session
        return CaseView(
            case_id=case_id,
            process_id=session.process_id,
            process_version=session.process_version,
            procedures=session.procedures,
            events=session.events,
            closed=bool(case.closed),
        )

    def perform(
        self, case_id: str, action: UIAction, *, state_digest: str, idempotency_key: str, by: str, seconds: float
    ) -> Receipt:
        """Do one action on the state it was meant for; see `desk.adapter.Desk.perform`.

        The receipt's events start with the action itself.

        Raises:
            StaleScreen: the case has moved on since the digest was taken.
            IllegalAction: the screen does not allow the action; nothing was done.
            DeskError: the case is unknown or closed, or `by` or `seconds` is out of range.
        """
        case = self.case(case_id)
        key = (case_id, idempotency_key)
        if key in self._receipts:
            return self._receipts[key].model_copy(update={"repeated": True})
        if not 0 <= seconds < float("inf"):
            raise DeskError(f"an action took {seconds!r} seconds; expected a number of at least 0")
        now = _digest(case)
        if state_digest != now:
            raise StaleScreen(
                f"case {case_id!r} has moved on: the action was chosen on state {state_digest[:12]!r}, the case is in "
                f"{now[:12]!r}; read the case and decide again"
            )
        right = judge(case, action).standing != "wrong"
        events = case.apply(action, seconds, _actor(by), right=right)
        receipt = Receipt(events=tuple(events), closed=bool(case.closed))
        self._receipts[key] = receipt
        return receipt

    def outcome(self, case_id: str) -> Outcome:
        """How a case ended by the truth: answers `solved` and `satisfied`; status open while it is open."""
        return self.case(case_id).outcome


def _digest(case: Case) -> str:
    return state_digest(case.session)


def _actor(by: str) -> Literal["operator", "autonomy"]:
    if by == "operator":
        return "operator"
    if by == "autonomy":
        return "autonomy"
    raise DeskError(f"an action was done by {by!r}; expected 'operator' or 'autonomy'")
