"""The contract: the one object that renders sessions for training and for serving, and reads actions back."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from selective_autonomy.contract.actions import (
    END,
    OTHER,
    action_pieces,
    all_heads,
    argument_fields,
    field_marker,
    read_action,
)
from selective_autonomy.contract.pieces import Marker, split_pieces, write_pieces
from selective_autonomy.contract.rendering import (
    CASE,
    CUSTOMER,
    OPERATOR,
    RENDERER_VERSION,
    SCREEN,
    Segment,
    render_session,
)
from selective_autonomy.errors import ContractError
from selective_autonomy.process.actions import UIAction
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session

_RULES = ("pieces.py", "values.py", "actions.py", "rendering.py", "windows.py")


class Contract:
    """How sessions of one process become text and actions are read from text.

    The prompt of a step is `render(log before it)` followed by the `operator` marker; the step's own
    segment begins with that marker. So the prompt of every step is a strict prefix of the next one's.
    """

    def __init__(self, schema: ProcessSchema) -> None:
        self.schema = schema
        self.heads = all_heads(schema)
        self._heads = frozenset(self.heads)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the process schema, the renderer's version and the source of its rules.

        Two contracts with one fingerprint render alike; the reverse need not hold (a comment changes it), which
        errs on the safe side: a policy is never asked in words that it was not trained on.
        """
        digest = hashlib.sha256(f"{self.schema.digest}\n{RENDERER_VERSION}\n".encode())
        for name in _RULES:
            digest.update(Path(__file__).with_name(name).read_text(encoding="utf-8").encode())
        return digest.hexdigest()

    def check_fingerprint(self, got: str, *, what: str) -> None:
        """Raise unless `what` was made under this contract.

        Raises:
            ContractError: the fingerprints differ.
        """
        if got != self.fingerprint:
            raise ContractError(
                f"{what} follows contract {got[:12]}…, expected {self.fingerprint[:12]}… of process "
                f"{self.schema.id!r} {self.schema.version}: the process schema or the renderer changed; train it again"
            )

    @cached_property
    def markers(self) -> tuple[Marker, ...]:
        """Every marker of the process, each to be one token: roles, heads, fields. In a fixed order."""
        fields = {spec.id for name in self.heads for spec in argument_fields(self.schema, name)}
        return (
            *(CASE, CUSTOMER, SCREEN, OPERATOR, END, OTHER),
            *(Marker(name) for name in self.heads),
            *(field_marker(field_id) for field_id in sorted(fields)),
        )

    def render(self, session: Session) -> tuple[Segment, ...]:
        """The session as segments, one for each visible event, header first.

        Raises:
            ContractError: the session is of another process.
        """
        if session.process_id != self.schema.id:
            raise ContractError(
                f"session {session.session_id!r} is of process {session.process_id!r}, expected {self.schema.id!r}"
            )
        return render_session(self.schema, self._heads, session)

    def prompt_text(self, session: Session) -> str:
        """The prompt of the next step in its written form: what a person reads, what fixtures hold."""
        return write_pieces([piece for s in self.render(session) for piece in s.pieces] + [OPERATOR])

    def action_text(self, action: UIAction) -> str:
        """An action in its written form, from its head to the end marker."""
        return write_pieces(action_pieces(self.schema, self._heads, action))

    def action_segment(self, action: UIAction, position: int = -1) -> Segment:
        """An action as the segment it would be at an event position of a log."""
        return Segment("action", position, (OPERATOR, *action_pieces(self.schema, self._heads, action)))

    def parse_action(self, written: str) -> UIAction:
        """The action of a written form; `parse_action(action_text(a)) == a`.

        Raises:
            ContractError: the text is not one action of this process.
        """
        return read_action(self.schema, self._heads, split_pieces(written))
