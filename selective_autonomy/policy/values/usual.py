"""Fields filled by counting: with a value that was said and is usual, else with a usual one. No model, no training."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from selective_autonomy.contract.actions import TEXT_HEADS, argument_fields
from selective_autonomy.errors import ModelError
from selective_autonomy.policy.protocol import ArgumentEvidence, Filled
from selective_autonomy.policy.values.field_values import listed_values, said, stated_values
from selective_autonomy.process.actions import Scalar, SearchProcedure, SendReply, SendTextToChat, SubmitForm
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.process.schema import FieldSpec, ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps

_VERSION = 2
_VALUES_KEPT = 50  # the most usual values of a field; rarer ones are copied from the log or not known at all


class UsualValues:
    """Implements `ValueModel`. Each field takes the first source that has a value:
    said in the log and usual in train · usual in train · named by the schema · stated in the log, newest first.

    A field that may stay empty is filled if a usual value was said, or if operators filled it more often than not.
    """

    def __init__(
        self, schema: ProcessSchema, heads: Mapping[str, int], values: Mapping[str, Sequence[tuple[Scalar, int]]]
    ) -> None:
        """`heads`: head -> times done in train. `values`: "head field" -> (value, times), most usual first."""
        self.schema, self._heads, self._values = schema, heads, values

    @classmethod
    def fit(cls, train: Iterable[Session], schema: ProcessSchema) -> UsualValues:
        """Count the values of the train sessions; without a step nothing is usual."""
        heads: Counter[str] = Counter()
        seen: dict[str, Counter[tuple[str, Scalar]]] = {}
        for session in train:
            for step in steps(session):
                name = head_of(step.action)
                heads[name] += 1
                for field_id, value in _arguments(step.action):
                    # The type's name keeps 1 and True apart, which are one key to a Counter.
                    seen.setdefault(f"{name} {field_id}", Counter())[type(value).__name__, value] += 1
        usual = {
            key: [(value, count) for (_, value), count in counter.most_common(_VALUES_KEPT)]
            for key, counter in seen.items()
        }
        return cls(schema, heads, usual)

    def fill(self, session: Session, head: str) -> Filled | None:
        log_text = "\n".join(text for event in session.events for text in said(event)).casefold()
        arguments: list[ArgumentEvidence] = []
        if head in TEXT_HEADS:
            usual = self._values.get(f"{head} {TEXT_HEADS[head]}", ())
            text = next((value for value, _ in usual if str(value).strip()), None)
            if text is None:
                return None
            arguments.append(self._evidence(head, TEXT_HEADS[head], text, log_text))
        for spec in argument_fields(self.schema, head):
            said_before = [
                value for value, _ in self._usual(head, spec) if str(value).strip() and _stands_in(value, log_text)
            ]
            often = 2 * sum(count for _, count in self._usual(head, spec)) > self._heads.get(head, 0)
            if not (spec.required or said_before or often):
                continue
            value = next(iter(said_before), None)
            if value is None:
                value = next(self._other_values(head, spec, session), None)
            if value is not None:
                arguments.append(self._evidence(head, spec.id, value, log_text))
            elif spec.required:
                return None
        return Filled(tuple(arguments), float(sum(np.log(argument.p) for argument in arguments)))

    def _usual(self, head: str, spec: FieldSpec) -> list[tuple[Scalar, int]]:
        return [(v, n) for v, n in self._values.get(f"{head} {spec.id}", ()) if spec.validator.is_valid(v)]

    def _other_values(self, head: str, spec: FieldSpec, session: Session) -> Iterator[Scalar]:
        yield from (value for value, _ in self._usual(head, spec))
        yield from listed_values(spec)
        for event in reversed(session.events):
            for text in said(event):
                yield from sorted(stated_values(spec, text), key=lambda value: (len(str(value)), str(value)))

    def _evidence(self, head: str, field_id: str, value: Scalar, log_text: str) -> ArgumentEvidence:
        usual = self._values.get(f"{head} {field_id}", ())
        count = next((n for v, n in usual if v == value and type(v) is type(value)), 0)
        return ArgumentEvidence(
            field=field_id,
            value=value,
            p=(count + 1) / (self._heads.get(head, 0) + 2),
            copied=_stands_in(value, log_text),
        )

    def save(self, path: Path) -> None:
        """Write the counts as one JSON file."""
        content = {"version": _VERSION, "heads": self._heads, "values": self._values}
        path.write_text(json.dumps(content, sort_keys=True, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path, schema: ProcessSchema) -> UsualValues:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing, damaged or of another version.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] != _VERSION:
                raise ModelError(f"{path} has version {content['version']!r}, expected {_VERSION}; train it again")
            heads = {name: int(count) for name, count in content["heads"].items()}
            values = {key: [(value, int(count)) for value, count in usual] for key, usual in content["values"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
            raise ModelError(f"{path} holds no counts of values: {err!r}; train the policy again") from err
        return cls(schema, heads, values)


def _arguments(action: object) -> Iterator[tuple[str, Scalar]]:
    match action:
        case SubmitForm(values=values) | SendReply(slots=values):
            yield from values.items()
        case SendTextToChat(text=text):
            yield "text", text
        case SearchProcedure(query=query):
            yield "query", query


def _stands_in(value: Scalar, log_text: str) -> bool:
    """True if the value stands in the log as it is written (letters' case aside)."""
    return str(value).casefold() in log_text
