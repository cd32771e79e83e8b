"""Copilot feedback where no operator can be asked: what the log of a real one says about a proposal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from selective_autonomy.errors import ContractError
from selective_autonomy.evaluation.replay import Judgement
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.process.comparison import same_action
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps


class LoggedFeedback:
    """Implements `FeedbackSource` from the log alone: accept = the operator did the same.

    "tool": the same head. "strict": the same arguments too, and free text never counts as the same. A log does
    not say why an operator did something else, nor whether the proposal would have done as well: `reason` and
    `truly_wrong` stay None. `seconds` is what the operator took for the logged step, if the log knows.
    """

    def __init__(self, mode: Literal["tool", "strict"]) -> None:
        self.mode = mode

    def judge(self, session: Session, proposals: Sequence[Proposal]) -> list[Judgement]:
        logged = list(steps(session))
        if len(logged) != len(proposals):
            raise ContractError(
                f"got {len(proposals)} proposals for session {session.session_id!r}, expected {len(logged)}, "
                "one a logged step"
            )
        return [
            Judgement(
                verdict="accept" if same_action(proposal.action, step.action, self.mode) else "correct",
                seconds=step.seconds if step.seconds is None else max(step.seconds, 0.0),
            )
            for step, proposal in zip(logged, proposals, strict=True)
        ]
