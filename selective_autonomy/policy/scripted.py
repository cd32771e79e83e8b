"""A policy that says what it is told: for tests and for trying the rest of the system without a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from selective_autonomy.errors import ModelError
from selective_autonomy.policy.protocol import Alternative, Proposal
from selective_autonomy.process.actions import UIAction, head
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps


def certain(action: UIAction, *, p: float = 1.0) -> Proposal:
    """A proposal of one action with head probability `p` in (0, 1] and no other evidence."""
    return Proposal(
        action=action,
        log_prob=math.log(p),
        entropy=0.0,
        legal_count=1,
        alternatives=(Alternative(head=head(action), p=p),),
    )


class ScriptedPolicy:
    """Answers step k of a session with the k-th proposal of its script; implements `Policy`.

    It checks nothing: a script may hold an illegal action, to see what the rest does with it.
    """

    def __init__(self, script: Mapping[str, Sequence[Proposal]]) -> None:
        self._script = {session_id: tuple(proposals) for session_id, proposals in script.items()}

    def propose(self, sessions: Sequence[Session]) -> list[Proposal]:
        """The proposal for the next step of each session.

        Raises:
            ModelError: the script does not reach that step.
        """
        return [self._at(session, sum(1 for _ in steps(session))) for session in sessions]

    def replay(self, session: Session) -> list[Proposal]:
        """The script's proposals, one for each operator action of the log."""
        return [self._at(session, step.index) for step in steps(session)]

    def _at(self, session: Session, index: int) -> Proposal:
        script = self._script.get(session.session_id, ())
        if index >= len(script):
            raise ModelError(
                f"the script of session {session.session_id!r} has {len(script)} proposals, expected one for step "
                f"{index}; extend the script"
            )
        return script[index]
