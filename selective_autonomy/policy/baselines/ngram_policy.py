"""A complete policy made of counts: the n-gram's likeliest legal head, filled with values said or usual.

The floor that any trained policy has to beat, and the policy of bundles that must load in milliseconds.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from selective_autonomy.contract.actions import TEXT_HEADS, argument_fields, build_action
from selective_autonomy.errors import IllegalAction, ModelError
from selective_autonomy.params import NgramParams
from selective_autonomy.policy.baselines.ngram import HeadNgram, situation_of
from selective_autonomy.policy.card import write_card
from selective_autonomy.policy.protocol import Alternative, ArgumentEvidence, Proposal
from selective_autonomy.policy.values.field_values import listed_values, said, stated_values
from selective_autonomy.process.actions import Scalar, SearchProcedure, SendReply, SendTextToChat, SubmitForm
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.process.schema import FieldSpec, ProcessSchema, load_process, save_process
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps

_SHOWN_ALTERNATIVES = 8
_VALUES_KEPT = 50  # the most usual values of a field; rarer ones are copied from the log or not known at all
_UNSEEN_HEAD = 1e-6  # probability, before normalising, of a legal head that train never did
_COUNTS, _SCHEMA, _VALUES = "heads.json", "process.yaml", "values.json"


class NgramPolicy:
    """Implements `Policy`. Heads by `HeadNgram` among the legal ones; each field by the first source that has a value:
    said in the log and usual in train · usual in train · named by the schema · stated in the log."""

    def __init__(self, schema: ProcessSchema, heads: HeadNgram, values: dict[str, list[tuple[Scalar, int]]]) -> None:
        """`values`: "head field" -> (value, count) pairs, most usual first."""
        self.schema, self.heads, self._values = schema, heads, values

    @classmethod
    def fit(cls, train: Sequence[Session], schema: ProcessSchema) -> NgramPolicy:
        """Count heads and values of the train sessions.

        Raises:
            ModelError: they hold no operator action.
        """
        seen: dict[str, Counter[tuple[str, Scalar]]] = {}
        for session in train:
            for step in steps(session):
                name = head_of(step.action)
                for field_id, value in _arguments(step.action):
                    # The type's name keeps 1 and True apart, which are one key to a Counter.
                    seen.setdefault(f"{name} {field_id}", Counter())[type(value).__name__, value] += 1
        values = {
            key: [(value, count) for (_, value), count in counter.most_common(_VALUES_KEPT)]
            for key, counter in seen.items()
        }
        return cls(schema, HeadNgram.fit(train), values)

    def propose(self, sessions: Sequence[Session]) -> list[Proposal]:
        return [self._propose(session) for session in sessions]

    def replay(self, session: Session) -> list[Proposal]:
        return [self._propose(step.before) for step in steps(session)]

    def _propose(self, session: Session) -> Proposal:
        legal = legal_heads(self.schema, derive_screen(session))
        p_H = self.heads.distribution(situation_of(session))
        weight_A = np.full(len(legal), _UNSEEN_HEAD)
        for a, name in enumerate(legal):
            index = self.heads.index(name)
            if index is not None:
                weight_A[a] += p_H[index]
        log_text = "\n".join(text for event in session.events for text in said(event)).casefold()
        order = [int(a) for a in np.argsort(-weight_A, kind="stable")]
        for rank, a in enumerate(order):
            arguments = self._fill(legal[a], session, log_text)
            if arguments is None:
                continue
            # Heads whose required fields nothing can fill are not legal choices for this policy.
            able = order[rank:]
            p_A = weight_A[able] / weight_A[able].sum()
            log_prob = math.log(p_A[0]) + sum(math.log(argument.p) for argument in arguments)
            return Proposal(
                action=build_action(legal[a], {argument.field: argument.value for argument in arguments}),
                log_prob=min(log_prob, 0.0),
                entropy=max(float(-(p_A * np.log(p_A)).sum()), 0.0),
                legal_count=len(able),
                alternatives=tuple(
                    Alternative(head=legal[b], p=min(float(p), 1.0))
                    for b, p in zip(able[:_SHOWN_ALTERNATIVES], p_A, strict=False)
                ),
                arguments=tuple(arguments),
            )
        raise IllegalAction(f"session {session.session_id!r} allows no action: got {len(legal)} legal heads to fill")

    def _fill(self, head: str, session: Session, log_text: str) -> list[ArgumentEvidence] | None:
        """The head's arguments, or None when a required one has no value."""
        if head in TEXT_HEADS:
            usual = self._values.get(f"{head} {TEXT_HEADS[head]}", [])
            text = next((value for value, _ in usual if str(value).strip()), None)
            return None if text is None else [self._evidence(head, TEXT_HEADS[head], text, log_text)]
        arguments = []
        for spec in argument_fields(self.schema, head):
            said_before = [
                value for value, _ in self._usual(head, spec) if str(value).strip() and _stands_in(value, log_text)
            ]
            often = 2 * sum(count for _, count in self._usual(head, spec)) > self.heads.count(head)
            if not (spec.required or said_before or often):
                continue
            value = next(iter(said_before), None)
            if value is None:
                value = next(self._other_values(head, spec, session), None)
            if value is not None:
                arguments.append(self._evidence(head, spec.id, value, log_text))
            elif spec.required:
                return None
        return arguments

    def _usual(self, head: str, spec: FieldSpec) -> list[tuple[Scalar, int]]:
        return [(v, n) for v, n in self._values.get(f"{head} {spec.id}", []) if spec.admits(v)]

    def _other_values(self, head: str, spec: FieldSpec, session: Session) -> Iterator[Scalar]:
        yield from (value for value, _ in self._usual(head, spec))
        yield from listed_values(spec)
        for event in reversed(session.events):
            for text in said(event):
                yield from sorted(stated_values(spec, text), key=lambda value: (len(str(value)), str(value)))

    def _evidence(self, head: str, field_id: str, value: Scalar, log_text: str) -> ArgumentEvidence:
        count = next(
            (n for v, n in self._values.get(f"{head} {field_id}", []) if v == value and type(v) is type(value)), 0
        )
        return ArgumentEvidence(
            field=field_id,
            value=value,
            p=(count + 1) / (self.heads.count(head) + 2),
            copied=_stands_in(value, log_text),
        )

    def save(self, out: Path) -> None:
        """Write schema, head counts and value counts into the directory `out`."""
        out.mkdir(parents=True, exist_ok=True)
        save_process(self.schema, out / _SCHEMA)
        self.heads.save(out / _COUNTS)
        text = json.dumps(self._values, sort_keys=True, ensure_ascii=False)
        (out / _VALUES).write_text(text, encoding="utf-8")
        write_card(out, NgramParams(), self.schema)

    @classmethod
    def load(cls, path: Path) -> NgramPolicy:
        """Read what `save` wrote.

        Raises:
            ProcessError: the schema is missing or wrong.
            ModelError: the counts are missing or damaged.
        """
        schema = load_process(path / _SCHEMA)
        try:
            values = json.loads((path / _VALUES).read_text(encoding="utf-8"))
            pairs = {key: [(value, int(count)) for value, count in usual] for key, usual in values.items()}
        except (OSError, ValueError, TypeError, AttributeError) as err:
            raise ModelError(f"{path / _VALUES} holds no value counts: {err}; fit the policy again") from err
        return cls(schema, HeadNgram.load(path / _COUNTS), pairs)


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
