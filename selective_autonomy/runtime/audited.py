"""Executed critical steps carry the draw that says whether they are audited: after the decision, never inside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from selective_autonomy.certify.audit import AuditRates, draw_audit
from selective_autonomy.decision import Decider, StepDecision
from selective_autonomy.gate import Stage
from selective_autonomy.runtime.binding import step_key
from selective_autonomy.traces.schema import Session


@dataclass(frozen=True)
class Auditor:
    """Who draws: the secret key, and how likely which step is drawn. The key is kept out of what is printed."""

    key: bytes = field(repr=False)
    rates: AuditRates

    def __post_init__(self) -> None:
        draw_audit(self.key, "", "", self.rates.least)  # a key too short is found now, not at the first executed step

    def drawn(self, decided: StepDecision, session_id: str) -> StepDecision:
        """The decision with its draw, if it executes a critical step; any other as it is.

        The draw hangs on key, session and step (one action on one state) alone: deciding again draws the same.
        """
        proposal, p_accept, threshold = decided.proposal, decided.p_accept, decided.threshold
        if decided.decision.outcome != "execute" or decided.tier != "critical" or proposal is None:
            return decided
        if p_accept is None or threshold is None:
            return decided
        rate = self.rates.of(proposal.action.type, p_accept, threshold)
        draw = draw_audit(self.key, session_id, step_key(decided.state_digest, proposal.action), rate)
        return decided.model_copy(update={"audit": draw})


@dataclass(frozen=True)
class AuditedDecider:
    """Implements `decision.Decider`: another one's decisions, with draws."""

    decider: Decider
    auditor: Auditor

    def decide(self, session: Session, *, stage: Stage = "selective") -> StepDecision:
        return self.auditor.drawn(self.decider.decide(session, stage=stage), session.session_id)
