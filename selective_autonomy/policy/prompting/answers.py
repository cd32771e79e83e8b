"""What an endpoint is asked to answer, and its answer read strictly: one legal action, or no proposal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError

from selective_autonomy.contract.actions import TEXT_HEADS, argument_fields, build_action
from selective_autonomy.errors import IllegalAction, NoProposal
from selective_autonomy.frozen import Frozen
from selective_autonomy.policy.prompting.endpoint import Completion
from selective_autonomy.policy.protocol import Alternative, ArgumentEvidence, Proposal
from selective_autonomy.policy.values.field_values import said
from selective_autonomy.process.actions import Scalar, UIAction
from selective_autonomy.process.legality import check_action
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen


class Answer(Frozen):
    """The JSON that the prompt asks for."""

    action: str
    arguments: dict[str, Scalar] = Field(default_factory=dict)


def answer_schema(schema: ProcessSchema, heads: Sequence[str]) -> dict[str, Any]:
    """JSON Schema of the answers that are legal: one branch a head, with its fields."""
    return {"anyOf": [_branch(head, _arguments(schema, head)) for head in heads]}


def read_answer(schema: ProcessSchema, session: Session, heads: Sequence[str], completion: Completion) -> Proposal:
    """The proposal that an answer stands for.

    Its probability is that of the answer's tokens up to the end of the action's name, where the server told them; the
    rest is spread evenly over the other legal heads. Where it told none, all legal heads count as equally likely:
    nothing is known, and nothing is made of it.

    Raises:
        NoProposal: the answer is not the JSON asked for, or not legal on this screen.
    """
    who = f"the answer for session {session.session_id!r}"
    try:
        answer = Answer.model_validate(json.loads(completion.text, parse_constant=_refuse_constant), strict=True)
    except (ValueError, ValidationError, RecursionError) as err:
        raise NoProposal(
            f"{who} is not the JSON asked for: got {completion.text[:200]!r}", reason="unreadable"
        ) from err
    if answer.action not in heads:
        raise NoProposal(f"{who} is no legal action: got {answer.action!r}, expected one listed", reason="illegal")
    action = _action(schema, session, answer, who)
    p, log_prob = _probabilities(completion, answer.action, len(heads))
    log_text = "\n".join(text for event in session.events for text in said(event)).casefold()
    p_arguments = min(1.0, math.exp(log_prob) / p) if p > 0 else 0.0
    return Proposal(
        action=action,
        log_prob=min(0.0, log_prob),
        entropy=_entropy(p, len(heads)),
        legal_count=len(heads),
        alternatives=(Alternative(head=answer.action, p=p),),
        arguments=tuple(
            ArgumentEvidence(field=name, value=value, p=p_arguments, copied=str(value).casefold() in log_text)
            for name, value in answer.arguments.items()
        ),
    )


def _action(schema: ProcessSchema, session: Session, answer: Answer, who: str) -> UIAction:
    allowed = set(_arguments(schema, answer.action)["properties"])
    if not allowed.issuperset(answer.arguments):
        extra = sorted(set(answer.arguments) - allowed)
        raise NoProposal(f"{who}: {answer.action!r} has no arguments {extra}, only {sorted(allowed)}", reason="illegal")
    try:
        action = build_action(answer.action, answer.arguments)
        check_action(schema, derive_screen(session), action)
    except (IllegalAction, KeyError) as err:
        raise NoProposal(f"{who} is not legal: {err}", reason="illegal") from err
    return action


def _probabilities(completion: Completion, head: str, legal: int) -> tuple[float, float]:
    """Probability of the head's name, and log-probability of the whole answer (nats)."""
    if not completion.tokens:
        return 1 / legal, -math.log(legal)
    end = completion.text.find(head) + len(head)
    written, log_head, log_all = 0, 0.0, 0.0
    for token, log_p in completion.tokens:
        if not math.isfinite(log_p):
            return 1 / legal, -math.log(legal)
        log_all += log_p
        if written < end:
            log_head += log_p
        written += len(token)
    return min(1.0, math.exp(log_head)), log_all


def _entropy(p: float, legal: int) -> float:
    rest = 1 - p
    others = rest * math.log(rest / (legal - 1)) if rest > 0 and legal > 1 else 0.0
    return max(0.0, -(p * math.log(p) if p > 0 else 0.0) - others)


def _branch(head: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"action": {"const": head}, "arguments": arguments},
        "required": ["action", "arguments"],
        "additionalProperties": False,
    }


def _arguments(schema: ProcessSchema, head: str) -> dict[str, Any]:
    if head in TEXT_HEADS:
        properties: dict[str, Any] = {TEXT_HEADS[head]: {"type": "string", "minLength": 1}}
        required = list(properties)
    else:
        specs = argument_fields(schema, head)
        properties = {spec.id: spec.schema_ for spec in specs}
        required = [spec.id for spec in specs if spec.required]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
