"""The values a policy may write for one argument: free text, or a closed set as a trie over tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from selective_autonomy.contract.actions import TEXT_HEADS, argument_fields
from selective_autonomy.contract.values import read_value, write_value
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.policy.values.field_values import free_branch, is_closed, listed_values, said, stated_values
from selective_autonomy.policy.values.habits import Place, recall
from selective_autonomy.process.actions import Scalar
from selective_autonomy.process.schema import FieldSpec
from selective_autonomy.traces.schema import Event

VALUE_TOKENS = 24  # of one form value or slot; the longest 1 % are free remarks, cut here
TEXT_TOKENS = 40  # of one message to the customer


@dataclass(slots=True)
class Trie:
    """Token sequences that lead to values. `value` is set where one ends."""

    children: dict[int, Trie] = field(default_factory=dict)
    value: Scalar | None = None

    def insert(self, ids: Iterable[int], value: Scalar) -> None:
        node = self
        for token in ids:
            node = node.children.setdefault(token, Trie())
        node.value = value

    def plus(self, ids: Sequence[int], value: Scalar) -> Trie:
        """The trie with one value more; this one stays as it is, and what the two share is not copied."""
        if not ids:
            return Trie(self.children, value)
        below = self.children.get(ids[0], _EMPTY).plus(ids[1:], value)
        return Trie({**self.children, ids[0]: below}, self.value)


_EMPTY = Trie()


@dataclass(frozen=True, slots=True)
class FreeText:
    """Any text. `most_chars` None: only `most_tokens` bounds it. `filled`: it must not be blank."""

    most_tokens: int
    most_chars: int | None
    filled: bool
    spec: FieldSpec | None = None

    def value(self, text: str) -> Scalar:
        """The value of the generated text; a field that also takes numbers reads them as such if it may."""
        if self.spec is None:
            return text
        value = read_value(text, self.spec)
        return value if self.spec.admits(value) else text


Space = FreeText | Trie


class Spaces:
    """The space of every argument of a process; closed sets are built once, stated values once per text.

    `usual`: "head field" -> further valid values of constrained fields, as `usual_values` finds them. `habits`:
    "head field" -> the places its value is copied from if one of them holds one, as `copy_habits` finds them.
    """

    def __init__(
        self, encoder: Encoder, usual: Mapping[str, Sequence[Scalar]], habits: Mapping[str, Sequence[Place]]
    ) -> None:
        self._encoder = encoder
        self._usual = usual
        self._habits = habits
        self._known_tries: dict[tuple[str, str], Trie] = {}
        self._stated = lru_cache(maxsize=20_000)(self._find_stated)

    def space(self, head: str, spec: FieldSpec, events: Sequence[Event]) -> Space | None:
        """Where the field's value comes from after `events`; None: there is no valid value to choose.

        A field with a habit takes what its place holds. Otherwise a free field takes any text, a constrained one what
        its schema lists, what is usual, what the log states.
        """
        copied = recall(self._habits.get(f"{head} {spec.id}", ()), spec, events)
        if copied is not None and (only := self._trie(spec, (copied,))).children:
            return only
        branch = free_branch(spec.schema_)
        if branch is not None:
            return FreeText(VALUE_TOKENS, branch.get("maxLength"), branch.get("minLength", 0) > 0, spec)
        trie = self._known_trie(head, spec)
        if not is_closed(spec.schema_):
            stated = [value for event in events for text in said(event) for value in self._stated(head, spec.id, text)]
            for ids, value in self._written(spec, stated):
                trie = trie.plus(ids, value)
        return trie if trie.children else None

    def can_fill(self, head: str, events: Sequence[Event]) -> bool:
        """Whether every required field of the head has a value to choose."""
        specs = argument_fields(self._encoder.contract.schema, head)
        return all(
            free_branch(spec.schema_) is not None
            or self._known_trie(head, spec).children
            or self.space(head, spec, events) is not None
            for spec in specs
            if spec.required
        )

    def _known_trie(self, head: str, spec: FieldSpec) -> Trie:
        key = (head, spec.id)
        if key not in self._known_tries:
            self._known_tries[key] = self._trie(spec, self._known(head, spec))
        return self._known_tries[key]

    def _known(self, head: str, spec: FieldSpec) -> tuple[Scalar, ...]:
        return (*listed_values(spec), *self._usual.get(f"{head} {spec.id}", ()))

    def _find_stated(self, head: str, field_id: str, text: str) -> tuple[Scalar, ...]:
        specs = argument_fields(self._encoder.contract.schema, head)
        return stated_values(next(spec for spec in specs if spec.id == field_id), text)

    def _trie(self, spec: FieldSpec, values: Iterable[Scalar]) -> Trie:
        trie = Trie()
        for ids, value in self._written(spec, values):
            trie.insert(ids, value)
        return trie

    def _written(self, spec: FieldSpec, values: Iterable[Scalar]) -> Iterator[tuple[tuple[int, ...], Scalar]]:
        """The tokens of each value that fits the room which a prompt leaves for an action."""
        for value in values:
            ids = self._encoder.text_ids(write_value(value, spec))
            if len(ids) <= VALUE_TOKENS or is_closed(spec.schema_):
                yield ids, value


def longest_arguments(encoder: Encoder, head: str) -> int:
    """Most tokens that an action of this head takes when it is generated, head and end marker included."""
    if head in TEXT_HEADS:
        return TEXT_TOKENS + 2
    return 2 + sum(1 + _longest_value(encoder, spec) for spec in argument_fields(encoder.contract.schema, head))


def _longest_value(encoder: Encoder, spec: FieldSpec) -> int:
    if not is_closed(spec.schema_):
        return VALUE_TOKENS
    return max((len(encoder.text_ids(write_value(value, spec))) for value in listed_values(spec)), default=0)
