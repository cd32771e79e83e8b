"""The prompting baseline on a local instruct model: heads and listed values are scored, free ones written in a grammar.

The answer is the JSON that the prompt asks for, laid down piece by piece, so it is legal whatever the model is like.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selective_autonomy.contract.actions import TEXT_HEADS, argument_fields
from selective_autonomy.errors import IllegalAction, ModelError
from selective_autonomy.policy.prompting.instruct import prompt_ids, text_ids
from selective_autonomy.policy.prompting.local_model import LocalModel
from selective_autonomy.policy.prompting.prompt_file import PromptFile
from selective_autonomy.policy.prompting.rendering import case_messages
from selective_autonomy.policy.protocol import ArgumentEvidence, Filled, RankedHeads
from selective_autonomy.policy.values.field_values import is_closed, listed_values, said
from selective_autonomy.process.actions import Scalar
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.process.schema import FieldSpec, ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps

ANSWER_TOKENS = 320  # of the context, kept free for an answer
_LEFT_OUT_AT_ONCE = 4  # events, until the rest fits: each try costs the tokenizer a few milliseconds
# Without spaces: a prefix that ends in one is split into tokens that the model never saw before a quote.
_OPENING = '{"action":"'
_MOST_CHARS, _MOST_TEXT_CHARS = 60, 160  # of a value that may be any text; of a message to the customer


class LocalPrompt:
    """Open sessions as tokens that end where the action's name begins.

    Args:
        history: events of the log that are shown at most.
    """

    def __init__(self, schema: ProcessSchema, prompt: PromptFile, model: LocalModel, *, history: int) -> None:
        self.schema, self.model = schema, model
        self._prompt, self._history = prompt, history

    def ids(self, session: Session, legal: Sequence[str]) -> list[int]:
        """Within the context; where it is too long, the oldest events go first, procedures and screen never.

        Raises:
            ModelError: it does not fit without any event either.
        """
        for leave_out in range(0, self._history + _LEFT_OUT_AT_ONCE, _LEFT_OUT_AT_ONCE):
            messages = case_messages(
                self._prompt, self.schema, session, legal, history=self._history, leave_out=leave_out
            )
            ids = prompt_ids(self.model.tokenizer, messages) + text_ids(self.model.tokenizer, _OPENING)
            if len(ids) + ANSWER_TOKENS <= self.model.context:
                return ids
        raise ModelError(
            f"context {self.model.context} is too short: the prompt of session {session.session_id!r} takes {len(ids)} "
            f"tokens without its log, and the answer up to {ANSWER_TOKENS}; set context to at least "
            f"{len(ids) + ANSWER_TOKENS}"
        )

    def legal(self, session: Session) -> tuple[str, ...]:
        """The legal heads of an open session.

        Raises:
            IllegalAction: there is none.
        """
        heads = legal_heads(self.schema, derive_screen(session))
        if not heads:
            raise IllegalAction(f"session {session.session_id!r} allows no action: it is closed")
        return heads


class PromptedHeads:
    """Implements `HeadModel`: every legal head's name scored as the answer's first value."""

    def __init__(self, prompt: LocalPrompt) -> None:
        self._prompt = prompt

    def rank_next(self, sessions: Sequence[Session]) -> list[RankedHeads]:
        return [self._rank(session) for session in sessions]

    def rank_steps(self, session: Session) -> list[RankedHeads]:
        return [self._rank(step.before) for step in steps(session)]

    def _rank(self, session: Session) -> RankedHeads:
        legal = self._prompt.legal(session)
        scores_A = self._prompt.model.score(self._prompt.ids(session, legal), [_quoted(head) for head in legal])
        return RankedHeads.of(legal, scores_A)


class PromptedValues:
    """Implements `ValueModel`: the answer's arguments, one field after the other in the schema's order.

    Which field comes next, or that none does, is scored; so are values of closed fields. Everything else is written
    inside the field's JSON Schema.
    """

    def __init__(self, prompt: LocalPrompt) -> None:
        self._prompt, self._model = prompt, prompt.model

    def check(self) -> None:
        """Raise ModelError unless every field of the process that is not listed has a grammar."""
        schema = self._prompt.schema
        for spec in [s for form in schema.forms for s in form.fields] + [s for r in schema.replies for s in r.slots]:
            if not is_closed(spec.schema_):
                self._model.check_grammar(_bounded(spec.schema_, _MOST_CHARS))

    def fill(self, session: Session, head: str) -> Filled | None:
        specs = argument_fields(self._prompt.schema, head)
        if not specs and head not in TEXT_HEADS:
            return Filled()
        ids = self._prompt.ids(session, self._prompt.legal(session))
        ids += text_ids(self._model.tokenizer, _quoted(head)) + text_ids(self._model.tokenizer, ',"arguments":{')
        log_text = "\n".join(text for event in session.events for text in said(event)).casefold()
        answer = _Answer(self._model, ids, log_text)
        if head in TEXT_HEADS:
            answer.lay(f"{_json(TEXT_HEADS[head])}:")
            bounds = {"type": "string", "minLength": 1, "maxLength": _MOST_TEXT_CHARS, "pattern": r"\S"}
            done = answer.write(TEXT_HEADS[head], bounds, lambda value: bool(str(value).strip()))
            return answer.filled() if done else None
        while specs:
            at = answer.choose_field(specs)
            if at is None:
                break
            if not answer.value(specs[at], last=at + 1 == len(specs)):
                return None
            specs = specs[at + 1 :]
        return answer.filled()


class _Answer:
    """An answer that is being laid down behind a prompt."""

    def __init__(self, model: LocalModel, ids: list[int], log_text: str) -> None:
        self._model, self._ids, self._log_text = model, ids, log_text
        self._arguments: list[ArgumentEvidence] = []
        self._log_prob = 0.0

    def filled(self) -> Filled:
        return Filled(tuple(self._arguments), min(0.0, self._log_prob))

    def lay(self, text: str) -> None:
        self._ids += text_ids(self._model.tokenizer, text)

    def choose(self, texts: Sequence[str]) -> tuple[int, float]:
        """Lay down the likeliest of texts; which one, and its probability among them."""
        if len(texts) == 1:
            self.lay(texts[0])
            return 0, 1.0
        ranked = RankedHeads.of(texts, self._model.score(self._ids, texts))
        self.lay(ranked.names[0])
        self._log_prob += float(ranked.log_p_A[0])
        return texts.index(ranked.names[0]), min(1.0, float(ranked.p_A[0]))

    def choose_field(self, specs: Sequence[FieldSpec]) -> int | None:
        """Lay down the next field's name: one up to the next required one, or the end where none is required."""
        comma = "," if self._arguments else ""
        required = next((i for i, spec in enumerate(specs) if spec.required), None)
        open_specs = specs if required is None else specs[: required + 1]
        texts = [f"{comma}{_json(spec.id)}:" for spec in open_specs] + ["}}"] * (required is None)
        at, _ = self.choose(texts)
        return None if at == len(open_specs) else at

    def value(self, spec: FieldSpec, *, last: bool) -> bool:
        """Lay down a field's value; False: there is none."""
        if not is_closed(spec.schema_):
            return self.write(spec.id, _bounded(spec.schema_, _MOST_CHARS), spec.validator.is_valid)
        values = listed_values(spec)
        if not values:
            return False
        # Without what follows it, 1 would always be likelier than 12.
        ends = ["" if isinstance(value, str) else "}" if last else "," for value in values]
        before = len(self._ids)
        at, p = self.choose([_json(value) + end for value, end in zip(values, ends, strict=True)])
        del self._ids[before:]
        self.lay(_json(values[at]))
        self._note(spec.id, values[at], p)
        return True

    def write(self, field: str, schema: Mapping[str, Any], is_valid: Callable[[Scalar], bool]) -> bool:
        """Lay down a value written inside a schema; False: it came to no end, or to none that is valid."""
        written = self._model.write(self._ids, schema)
        if written is None:
            return False
        value = json.loads(written.text)
        if not isinstance(value, str | int | float | bool) or not is_valid(value):
            return False
        self.lay(written.text)
        self._log_prob += written.log_prob
        self._note(field, value, min(1.0, math.exp(written.log_prob)))
        return True

    def _note(self, field: str, value: Scalar, p: float) -> None:
        copied = str(value).casefold() in self._log_text
        self._arguments.append(ArgumentEvidence(field=field, value=value, p=p, copied=copied))


def _bounded(schema: Mapping[str, Any], most_chars: int) -> dict[str, Any]:
    """The schema with a length for text that has none: a small model does not always find an end."""
    bounded = dict(schema)
    for key in ("anyOf", "oneOf"):
        if key in bounded:
            bounded[key] = [_bounded(branch, most_chars) for branch in bounded[key]]
    constrained = {"enum", "const", "pattern", "anyOf", "oneOf", "maxLength"} & bounded.keys()
    if "type" not in bounded and not constrained:
        bounded["type"] = "string"
    if bounded.get("type") == "string" and not constrained:
        bounded["maxLength"] = max(most_chars, int(bounded.get("minLength", 0)))
    return bounded


def _json(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False)


def _quoted(head: str) -> str:
    """A head behind its opening quote."""
    return _json(head)[1:]
