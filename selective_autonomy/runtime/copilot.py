"""The copilot stage before there is a critic: the policy proposes every step, and a person judges it."""

from __future__ import annotations

import logging

from selective_autonomy.decision import StepDecision
from selective_autonomy.errors import IllegalAction
from selective_autonomy.gate import Defer, Stage, decide
from selective_autonomy.policy.protocol import Policy
from selective_autonomy.process.legality import check_action
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, state_digest

logger = logging.getLogger(__name__)


class Copilot:
    """Implements `decision.Decider` by a policy alone. It has no score and no certificate, so nothing ever executes."""

    def __init__(self, policy: Policy, schema: ProcessSchema) -> None:
        self._policy, self._schema = policy, schema

    def decide(self, session: Session, *, stage: Stage = "copilot") -> StepDecision:
        """A Defer with the policy's proposal, or with none where no action is allowed, this one is not, or it fails."""
        digest = state_digest(session)
        try:
            (proposal,) = self._policy.propose([session])
        except IllegalAction:
            return StepDecision(decision=Defer(reason="no_legal_action"), state_digest=digest)
        except Exception:
            logger.exception("session %s: no proposal", session.session_id)
            return StepDecision(decision=Defer(reason="internal_error"), state_digest=digest)
        try:
            check_action(self._schema, derive_screen(session), proposal.action)
        except IllegalAction as err:
            logger.error("session %s: the policy proposed what the screen forbids: %s", session.session_id, err)
            return StepDecision(decision=Defer(reason="illegal_action"), state_digest=digest)
        tier = self._schema.tier(proposal.action.type).tier
        decision = decide(p_accept=None, threshold=None, tier=tier, legal=True, procedures_certified=False, stage=stage)
        return StepDecision(decision=decision, state_digest=digest, proposal=proposal, tier=tier)
