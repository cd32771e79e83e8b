"""Where operators take a value from: what was last shown or filled in under its name, or what the customer last said.

A small model trained from scratch learns which form comes next long before it learns to copy eight digits. Where
the train sessions show that operators nearly always copy a field from one place, its value is taken from there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from selective_autonomy.policy.values.field_values import free_branch, listed_values, stated_values
from selective_autonomy.process.actions import Scalar, SendReply, SubmitForm, head
from selective_autonomy.process.comparison import same_values
from selective_autonomy.process.schema import FieldSpec, ProcessSchema
from selective_autonomy.traces.schema import CustomerMessage, Event, OperatorAction, ScreenUpdate, Session
from selective_autonomy.traces.screen import Choice, steps

Place = Literal["shown", "said"]
PLACES: tuple[Place, ...] = ("shown", "said")
_LEAST_SHARE = 0.9  # below, the model's own choice is as good: it sees the whole log, a habit one place in it
_LEAST_USES = 20
_SPLIT_DIGITS = re.compile(r"(?<=\d)[ -](?=\d)")


def copy_habits(
    train: Iterable[Session], schema: ProcessSchema, choice: Choice | None = None
) -> dict[str, tuple[Place, ...]]:
    """ "head field" -> places that held the operators' value in at least 90 % of the steps where they held one.

    The surest place first. A place that held a value in fewer than 20 steps is no habit. Sees: the chosen steps
    of train only. Holds no value, so nothing personal.
    """
    held: dict[Place, Counter[str]] = {place: Counter() for place in PLACES}
    right: dict[Place, Counter[str]] = {place: Counter() for place in PLACES}
    for session in train:
        for step in steps(session, choice):
            events = session.events[: step.position]
            for spec, value in _filled(schema, step.action):
                for place in PLACES:
                    found = recall((place,), spec, events)
                    if found is not None:
                        key = f"{head(step.action)} {spec.id}"
                        held[place][key] += 1
                        right[place][key] += same_values({spec.id: found}, {spec.id: value})
    habits: dict[str, tuple[Place, ...]] = {}
    for key in sorted({key for counts in held.values() for key in counts}):
        shares = {place: right[place][key] / n for place in PLACES if (n := held[place][key]) >= _LEAST_USES}
        sure = [place for place in shares if shares[place] >= _LEAST_SHARE]
        if sure:
            habits[key] = tuple(sorted(sure, key=lambda place: -shares[place]))
    return habits


def recall(places: Iterable[Place], spec: FieldSpec, events: Sequence[Event]) -> Scalar | None:
    """The valid value that the first place to hold one holds for a field after `events`; None: none holds any.

    `shown`: the last value under the field's id, on the screen or filled in by an operator. `said`: the last value
    in the newest customer message that states one; case and gaps between digits do not count.
    """
    for place in places:
        for event in reversed(events):
            for value in _shown(spec, event) if place == "shown" else _said(spec, event):
                if spec.admits(value):
                    return value
    return None


def _filled(schema: ProcessSchema, action: object) -> Iterator[tuple[FieldSpec, Scalar]]:
    match action:
        case SubmitForm(form=name, values=values) if name in schema.forms_by_id:
            specs = schema.forms_by_id[name].fields
        case SendReply(template=name, slots=values) if name in schema.replies_by_id:
            specs = schema.replies_by_id[name].slots
        case _:
            return
    yield from ((spec, values[spec.id]) for spec in specs if spec.id in values)


def _shown(spec: FieldSpec, event: Event) -> Iterator[Scalar]:
    match event:
        case ScreenUpdate(values=values):
            pass
        case OperatorAction(action=SubmitForm(values=values) | SendReply(slots=values)):
            pass
        case _:
            return
    if spec.id in values:
        yield values[spec.id]


def _said(spec: FieldSpec, event: Event) -> Iterator[Scalar]:
    """What a customer message states, last mention first. A field that takes any text has no stated values."""
    if not isinstance(event, CustomerMessage) or free_branch(spec.schema_) is not None:
        return
    mentions = [(at, value) for value in listed_values(spec) if (at := _mention(str(value), event.text)) is not None]
    yield from (value for _, value in sorted(mentions, key=lambda mention: mention[0], reverse=True))
    if not mentions:
        text = _SPLIT_DIGITS.sub("", event.text)
        yield from reversed([v for written in (text, text.upper()) for v in stated_values(spec, written)])


def _mention(value: str, text: str) -> int | None:
    """Where a text's last mention of a value, as words of its own, ends; None: there is none."""
    found = list(re.finditer(rf"(?<!\w){re.escape(value)}(?!\w)", text, flags=re.IGNORECASE)) if value else []
    return found[-1].end() if found else None
