"""The grammar of one action's arguments as a walk over tokens: what may come next, and what has been said.

After a head come its fields in schema order, each a marker and a value, then the end marker. A field may be
passed over unless it is required. So every walk ends in a complete, schema-valid action; nothing is repaired
afterwards. An own automaton, not a general grammar engine: values depend on the log, the probabilities of the
choices are evidence for the critic, and the whole grammar is the few lines of `Walk.options`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.contract.actions import END, TEXT_HEADS, argument_fields, build_action, field_marker
from selective_autonomy.policy.causal_lm.spaces import TEXT_TOKENS, FreeText, Space, Spaces, Trie
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.policy.protocol import ArgumentEvidence
from selective_autonomy.process.actions import Scalar, UIAction
from selective_autonomy.traces.schema import Event


@dataclass(frozen=True, slots=True)
class _Slot:
    """One argument. `marker` None: the text of a text head, which no marker opens."""

    name: str
    marker: int | None
    space: Space
    required: bool


@dataclass(frozen=True, slots=True)
class Argument:
    """A chosen value and the probability of its tokens and of stopping where it stops."""

    name: str
    value: Scalar
    p: float


class Walk:
    """Greedy generation of the arguments of one head, step by step.

    `log_prob` (nats) is over all choices made: fields, value tokens, stops.
    """

    def __init__(self, encoder: Encoder, spaces: Spaces, head: str, events: Sequence[Event]) -> None:
        self.head = head
        self.log_prob = 0.0
        self.done = False
        self.arguments: list[Argument] = []
        self._encoder = encoder
        self._end = encoder.marker_id(END)
        self._slots = self._slots_of(spaces, events)
        self._at = -1  # the slot being filled
        self._node: Trie | None = None
        self._ids: list[int] = []
        self._p = 1.0
        if head in TEXT_HEADS:
            self._open(0)
        elif not self._slots:
            self.done = True

    def step(self, logits_V: NDArray[np.float64]) -> int:
        """Choose the next token greedily among what may come next; returns its id.

        A stop is weighed as a whole against the best text token; then the likeliest marker is taken.
        """
        text, markers = self._text_options(), self._marker_options()
        options = np.concatenate([text, np.array(markers, dtype=np.int64)])
        scores = logits_V[options]
        p = np.exp(scores - scores.max())
        p /= p.sum()
        p_text, p_stop = p[: len(text)], float(p[len(text) :].sum())
        if len(text) and (not markers or p_text.max() > p_stop):
            chosen = int(p_text.argmax())
            self._p *= float(p_text[chosen])
        else:
            chosen = len(text) + int(p[len(text) :].argmax())
            self._p *= p_stop
        self.log_prob += math.log(max(float(p[chosen]), 1e-300))
        token = int(options[chosen])
        if chosen < len(text):
            self._extend(token)
        else:
            self._close(token)
        return token

    def forced(self) -> list[int]:
        """Take the tokens that come next without a choice, up to the next choice or the end; empty if there is one now.

        They have probability 1 whatever the model says, so it need not be asked.
        """
        tokens: list[int] = []
        while not self.done and (only := self._only_option()) is not None:
            token, is_text = only
            if is_text:
                self._extend(token)
            else:
                self._close(token)
            tokens.append(token)
        return tokens

    def action(self) -> UIAction:
        """The finished action."""
        return build_action(self.head, {argument.name: argument.value for argument in self.arguments})

    def evidence(self, log_text: str) -> tuple[ArgumentEvidence, ...]:
        """Evidence for each argument; `log_text`: all that was said and shown before the step."""
        return tuple(
            ArgumentEvidence(field=a.name, value=a.value, p=min(a.p, 1.0), copied=_stands_in(str(a.value), log_text))
            for a in self.arguments
        )

    def _slots_of(self, spaces: Spaces, events: Sequence[Event]) -> list[_Slot]:
        if self.head in TEXT_HEADS:
            return [_Slot(TEXT_HEADS[self.head], None, FreeText(TEXT_TOKENS, None, filled=True), required=True)]
        slots = []
        for spec in argument_fields(self._encoder.contract.schema, self.head):
            space = spaces.space(self.head, spec, events)
            if space is not None:
                slots.append(_Slot(spec.id, self._encoder.marker_id(field_marker(spec.id)), space, spec.required))
        return slots

    def _text_options(self) -> NDArray[np.int64]:
        """Ordinary tokens that may come next; empty between values."""
        if self._node is not None:
            return np.array(list(self._node.children), dtype=np.int64)
        space = self._slots[self._at].space if self._at >= 0 else None
        if not isinstance(space, FreeText) or len(self._ids) >= space.most_tokens:
            return np.array([], dtype=np.int64)
        encoder, words = self._encoder, self._words()
        allowed = encoder.is_text
        if space.filled and not words:  # one bare space may open the text, then something visible has to follow
            allowed = encoder.is_word | (encoder.opens_word & (encoder.chars == 1) & (not self._ids))
        if space.most_chars is not None:
            added = encoder.chars - (encoder.opens_word if not self._ids else 0)
            allowed = allowed & (added <= space.most_chars - len(words))
        return np.flatnonzero(allowed)

    def _only_option(self) -> tuple[int, bool] | None:
        """The only token that may come next and whether it is text; None: there is a choice."""
        if self._node is not None:
            if len(self._node.children) > 1:
                return None
            text = list(self._node.children)
        elif len(self._text_options()):
            return None  # free text always has a choice
        else:
            text = []
        options = [*((token, True) for token in text), *((token, False) for token in self._marker_options())]
        return options[0] if len(options) == 1 else None

    def _marker_options(self) -> list[int]:
        """Markers that may come next: the following fields up to the first required one, or the end."""
        if not self._may_stop():
            return []
        markers: list[int] = []
        for slot in self._slots[self._at + 1 :]:
            markers.append(slot.marker if slot.marker is not None else self._end)
            if slot.required:
                return markers
        return [*markers, self._end]

    def _may_stop(self) -> bool:
        if self._node is not None:
            return self._node.value is not None
        space = self._slots[self._at].space if self._at >= 0 else None
        return not (isinstance(space, FreeText) and space.filled and not self._words())

    def _words(self) -> str:
        return self._encoder.decode_text(self._ids)

    def _extend(self, token: int) -> None:
        self._ids.append(token)
        if self._node is not None:
            self._node = self._node.children[token]

    def _close(self, marker: int) -> None:
        if self._at >= 0:
            slot = self._slots[self._at]
            value = self._node.value if self._node is not None else self._free_value(slot.space)
            if value is None:
                raise AssertionError(f"the walk of {self.head!r} stopped inside a value of {slot.name!r}")
            self.arguments.append(Argument(slot.name, value, self._p))
        if marker == self._end:
            self.done = True
        else:
            self._open(next(i for i, slot in enumerate(self._slots) if slot.marker == marker))

    def _free_value(self, space: Space) -> Scalar:
        text = self._encoder.decode_text(self._ids)
        return space.value(text) if isinstance(space, FreeText) else text

    def _open(self, at: int) -> None:
        space = self._slots[at].space
        self._at, self._ids, self._p = at, [], 1.0
        self._node = space if isinstance(space, Trie) else None


def _stands_in(value: str, log_text: str) -> bool:
    """Whether the value stands word for word in the log; case does not count. The empty value does not."""
    needle, hay = value.casefold().strip(), log_text.casefold()
    at = hay.find(needle) if needle else -1
    while at >= 0:
        before, after = hay[at - 1 : at], hay[at + len(needle) : at + len(needle) + 1]
        if not (before.isalnum() and needle[0].isalnum()) and not (after.isalnum() and needle[-1].isalnum()):
            return True
        at = hay.find(needle, at + 1)
    return False
