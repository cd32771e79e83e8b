"""Sessions as token sequences: one per window, with the place of every prompt in it. Training and serving use this."""

from __future__ import annotations

from dataclasses import dataclass

from selective_autonomy.contract.contract import Contract
from selective_autonomy.contract.rendering import OPERATOR, Segment
from selective_autonomy.contract.windows import Part, fold_windows
from selective_autonomy.errors import ModelError
from selective_autonomy.policy.causal_lm.spaces import longest_arguments
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.process.actions import UIAction
from selective_autonomy.traces.schema import Session


@dataclass(frozen=True, slots=True)
class Prompt:
    """A step's place in a window: `ids[: start + 1]` is its prompt, marker last, `ids[start + 1 : end]` its action.

    `position`: the event's place in the session. `teaches`: the process knows the action.
    """

    position: int
    start: int
    end: int
    teaches: bool


@dataclass(frozen=True, slots=True)
class TokenWindow:
    """One window of a session: its tokens, and the steps that are prompted in it, in order."""

    ids: tuple[int, ...]
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True)
class EncodedSession:
    """All windows of a session; `truncated`: it did not fit, or one of its segments was cut."""

    windows: tuple[TokenWindow, ...]
    truncated: bool


class Prompter:
    """Encodes sessions within a context of `context` tokens.

    Raises:
        ModelError: the context leaves less than half of itself for the prompt beside the longest action.
    """

    def __init__(self, contract: Contract, encoder: Encoder, *, context: int) -> None:
        self.contract, self.encoder = contract, encoder
        longest = 1 + max(longest_arguments(encoder, name) for name in contract.heads)
        self.budget = context - longest
        if self.budget < context // 2:
            raise ModelError(
                f"context {context} is too short: the longest action of process {contract.schema.id!r} may take "
                f"{longest} tokens, expected at most {context // 2}; set context to at least {2 * longest}"
            )

    def encode(self, session: Session) -> EncodedSession:
        """The session's windows. An open session's next prompt is the last window plus the operator marker."""
        segments = self.contract.render(session)
        encoded = [self._encode(segment) for segment in segments]
        parts = [Part(s.kind, len(ids), s.shows) for s, ids in zip(segments, encoded, strict=True)]
        windows = fold_windows(parts, self.budget)
        sequences = []
        for window in windows:
            ids: list[int] = []
            prompts: list[Prompt] = []
            for index in window.segments:
                start = len(ids)
                ids += encoded[index]
                if parts[index].kind == "action" and index >= window.new_from:
                    prompts.append(Prompt(segments[index].position, start, len(ids), segments[index].teaches))
            sequences.append(TokenWindow(tuple(ids), tuple(prompts)))
        cut = any(len(ids) == self.budget // 4 for ids in encoded)
        return EncodedSession(tuple(sequences), truncated=cut or len(windows) > 1)

    def encode_action(self, action: UIAction) -> tuple[int, ...]:
        """The tokens that would follow the operator marker if this action were done, end marker last."""
        return tuple(self._encode(self.contract.action_segment(action))[1:])

    @property
    def operator_id(self) -> int:
        return self.encoder.marker_id(OPERATOR)

    def _encode(self, segment: Segment) -> list[int]:
        """At most a quarter of the budget; what is cut is the end of the text, an action keeps its end marker."""
        ids, most = self.encoder.encode(segment), self.budget // 4
        if len(ids) <= most:
            return ids
        return [*ids[: most - 1], ids[-1]] if segment.kind == "action" else ids[:most]
