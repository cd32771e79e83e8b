"""Values that a field may take: what its schema lists, what operators usually give, what the log states. All valid."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from selective_autonomy.contract.values import holds_only_strings
from selective_autonomy.process.actions import Scalar, SearchProcedure, SendReply, SendTextToChat, SubmitForm, head
from selective_autonomy.process.schema import FieldSpec, ProcessSchema
from selective_autonomy.traces.schema import CustomerMessage, Event, OperatorAction, ScreenUpdate, Session
from selective_autonomy.traces.screen import Choice, steps

_MOST_USUAL = 200  # values of one field that operators give again and again
_LARGEST_RANGE = 256  # bounded integers up to this many are listed: a trie over them costs nothing
_LONGEST_SPAN = 4  # words of a stated value: covers names, dates, short addresses
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
_NOTES = {"title", "description", "examples", "default", "$comment"}  # say something, ask for nothing
_PLAIN = _NOTES | {"type", "format", "minLength", "maxLength"}  # format is a note too: the validator does not check it


def free_branch(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The part of the schema under which any text up to a length is a value; None: the field is constrained.

    Free is: type string (or none), at most one character asked for; also as one branch of a plain `anyOf`.
    """
    kinds = schema.get("type", "string")
    takes_text = "string" in ((kinds,) if isinstance(kinds, str) else kinds)
    if "anyOf" in schema:
        free = next((b for b in map(free_branch, schema["anyOf"]) if b is not None), None)
        return free if takes_text and _NOTES.union({"anyOf", "type"}).issuperset(schema) else None
    fits = schema.get("minLength", 0) <= 1 <= schema.get("maxLength", 1)
    return schema if takes_text and fits and _PLAIN.issuperset(schema) else None


def is_closed(schema: Mapping[str, Any]) -> bool:
    """True if `listed_values` are all the values there are, as far as the schema says so plainly."""
    branches = schema.get("anyOf") or schema.get("oneOf")
    if branches:
        return all(map(is_closed, branches))
    return bool({"enum", "const"} & schema.keys()) or schema.get("type") == "boolean" or _range(schema) is not None


def listed_values(spec: FieldSpec) -> tuple[Scalar, ...]:
    """What the schema itself names: enumerations, constants, booleans, examples, bounded integers."""
    return _valid(spec, _listed(spec.schema_))


def stated_values(spec: FieldSpec, text: str) -> tuple[Scalar, ...]:
    """What a text states that is a value of the field: numbers, number words, spans of up to four words."""
    values: list[Scalar] = []
    if not holds_only_strings(spec.schema_):
        values += _numbers(text)
    if spec.schema_.get("type") not in ("integer", "number", "boolean"):
        values += _spans(text)
    return _valid(spec, values)


def usual_values(
    train: Iterable[Session], schema: ProcessSchema, choice: Choice | None = None
) -> dict[str, tuple[Scalar, ...]]:
    """ "head field" -> values that operators gave at least twice in chosen steps and that the schema does not list.

    Only of constrained fields: a comparison such as `is_at_most(5)` is found in no message. Never of fields marked
    as personal: they would travel with the policy.
    """
    counts: dict[str, Counter[tuple[str, Scalar]]] = {}
    for session in train:
        for step in steps(session, choice):
            given = step.action.values if isinstance(step.action, SubmitForm) else {}
            for field_id, value in given.items():
                counts.setdefault(f"{head(step.action)} {field_id}", Counter())[type(value).__name__, value] += 1
    usual: dict[str, tuple[Scalar, ...]] = {}
    for form in schema.forms:
        for spec in form.fields:
            if spec.pii or free_branch(spec.schema_) is not None or is_closed(spec.schema_):
                continue
            key = f"submit_form:{form.id} {spec.id}"
            common = [value for (_, value), n in counts.get(key, Counter()).most_common(_MOST_USUAL) if n > 1]
            listed = {(type(value), value) for value in listed_values(spec)}
            usual[key] = tuple(v for v in _valid(spec, common) if (type(v), v) not in listed)
    return {key: values for key, values in usual.items() if values}


def said(event: Event) -> Iterator[str]:
    """The texts of an event that a value can be copied from: messages, shown values, what operators typed."""
    match event:
        case CustomerMessage(text=text):
            yield text
        case ScreenUpdate(values=values):
            yield from map(str, values.values())
        case OperatorAction(action=SubmitForm(values=values) | SendReply(slots=values)):
            yield from map(str, values.values())
        case OperatorAction(action=SendTextToChat(text=text) | SearchProcedure(query=text)):
            yield text


def _listed(schema: Mapping[str, Any]) -> Iterator[Scalar]:
    if schema.get("type") == "boolean":
        yield from (True, False)
    yield from schema.get("enum", ())
    if "const" in schema:
        yield schema["const"]
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _listed(branch)
    yield from schema.get("examples", ())
    yield from _range(schema) or ()


def _range(schema: Mapping[str, Any]) -> range | None:
    if schema.get("type") != "integer" or not {"minimum", "maximum"} <= schema.keys():
        return None
    low, high = math.ceil(schema["minimum"]), math.floor(schema["maximum"])
    return range(low, high + 1) if high - low < _LARGEST_RANGE else None


def _numbers(text: str) -> Iterator[Scalar]:
    for found in _NUMBER.findall(text):
        yield float(found) if "." in found else int(found)
    words = text.lower().split()
    yield from (number for number, word in enumerate(_NUMBER_WORDS) if word in words)


def _spans(text: str) -> Iterator[str]:
    words = text.split()
    for start in range(len(words)):
        for end in range(start + 1, min(start + _LONGEST_SPAN, len(words)) + 1):
            span = " ".join(words[start:end])
            yield from {span, span.strip(".,;:!?\"'()")} - {""}


def _valid(spec: FieldSpec, values: Iterable[Scalar]) -> tuple[Scalar, ...]:
    """In order, each once; the type keeps 1 and True apart."""
    unique = {(type(value), value): value for value in values}
    return tuple(value for value in unique.values() if spec.admits(value))
