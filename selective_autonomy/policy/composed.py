"""A policy of two parts: which head comes next, and what goes into its fields."""

from __future__ import annotations

from collections.abc import Sequence

from selective_autonomy.contract.actions import build_action
from selective_autonomy.errors import IllegalAction
from selective_autonomy.policy.protocol import HeadModel, Proposal, RankedHeads, ValueModel
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps


class ComposedPolicy:
    """Implements `Policy`: the likeliest legal head that can be filled. As deterministic as its parts."""

    def __init__(self, heads: HeadModel, values: ValueModel) -> None:
        self.heads, self.values = heads, values

    def propose(self, sessions: Sequence[Session]) -> list[Proposal]:
        """The next action of each open session.

        Raises:
            IllegalAction: a session allows no action, or none whose required fields can be filled.
        """
        ranked = self.heads.rank_next(sessions)
        return [self._fill(session, heads) for session, heads in zip(sessions, ranked, strict=True)]

    def replay(self, session: Session) -> list[Proposal]:
        """One proposal before each operator action of a log.

        Raises:
            IllegalAction: a step allows no action, or none whose required fields can be filled.
        """
        ranked = self.heads.rank_steps(session)
        return [self._fill(step.before, heads) for step, heads in zip(steps(session), ranked, strict=True)]

    def _fill(self, before: Session, ranked: RankedHeads) -> Proposal:
        for place, head in enumerate(ranked.names):
            filled = self.values.fill(before, head)
            if filled is not None:
                # A head whose required fields nothing can fill is no choice for this policy.
                able = ranked.without(place) if place else ranked
                action = build_action(head, {argument.field: argument.value for argument in filled.arguments})
                return able.proposal(action, filled.arguments, filled.log_prob)
        raise IllegalAction(
            f"session {before.session_id!r} allows no action: none of its {len(ranked.names)} legal heads can be filled"
        )
