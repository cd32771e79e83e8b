"""What the gated system answers for one step: the record that travels to the desk, the log and the auditor."""

from __future__ import annotations

from typing import Protocol

from selective_autonomy.certify.audit import AuditDraw
from selective_autonomy.frozen import Frozen
from selective_autonomy.gate import Decision, Stage
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.process.schema import Tier
from selective_autonomy.traces.schema import Session


class StepDecision(Frozen):
    """One decision with all that it was based on.

    `proposal`, `p_accept`, `threshold` are None when there was none to be had (the decision then defers).
    `state_digest` is the state the decision was taken on; acting on any other state is refused.
    `audit`: of an executed critical step, whether it is reviewed afterwards; None where nobody draws.
    """

    decision: Decision
    state_digest: str
    proposal: Proposal | None = None
    tier: Tier | None = None
    p_accept: float | None = None
    threshold: float | None = None
    certificate_id: str | None = None
    bundle_version: str | None = None
    bundle_digest: str | None = None
    audit: AuditDraw | None = None


class Decider(Protocol):
    """Anything that decides the next step of a session: a loaded bundle, or a client of the service."""

    def decide(self, session: Session, *, stage: Stage = "selective") -> StepDecision:
        """Never raises for what a session holds: any fault is a Defer with its reason."""
        ...
