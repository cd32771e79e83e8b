"""A case in words for an instruct model: open procedures, what can be done now, the log, the screen.

Proposals, feedback, notes, labels, times and operators are never shown, as in the contract.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from selective_autonomy.contract.actions import TEXT_HEADS, argument_fields
from selective_autonomy.policy.prompting.prompt_file import Messages, PromptFile
from selective_autonomy.policy.values.field_values import is_closed, listed_values
from selective_autonomy.process.actions import (
    ClickControl,
    CloseChat,
    SearchProcedure,
    SendReply,
    SendTextToChat,
    SubmitForm,
    TransferChat,
    UIAction,
)
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.process.schema import FieldSpec, Procedure, ProcessSchema
from selective_autonomy.traces.schema import CustomerMessage, OperatorAction, ScreenUpdate, Session
from selective_autonomy.traces.screen import ScreenState, derive_screen

_MOST_CHOICES = 8  # listed values of a field that are shown; the field accepts the others too


def case_messages(
    prompt: PromptFile,
    schema: ProcessSchema,
    session: Session,
    heads: Sequence[str],
    *,
    history: int,
    leave_out: int = 0,
) -> Messages:
    """The chat messages that ask for the next action of an open session.

    Args:
        heads: the legal heads, as they are offered.
        history: at most so many events of the log. Older ones go in blocks of half as many, so that prompts of
            neighbouring steps begin alike and a model can reuse what it has read.
        leave_out: so many events more are left out (the caller found the prompt too long).
    """
    lines = [(event, line) for event in session.events if (line := _event(schema, event)) is not None]
    block = max(1, history // 2)
    skipped = min(len(lines), max(0, -(-(len(lines) - history) // block)) * block + leave_out)
    log = [f"({skipped} earlier events are not shown)"] * bool(skipped) + [line for _, line in lines[skipped:]]
    return prompt.messages(
        procedures="\n\n".join(
            _procedure(schema.procedures_by_id[name]) for name in session.procedures if name in schema.procedures_by_id
        ),
        actions="\n".join(_offer(schema, head) for head in heads),
        log="\n".join(log) or "(nothing yet)",
        screen=_screen(
            derive_screen(session),
            frozenset(event.form or "" for event, _ in lines[skipped:] if isinstance(event, ScreenUpdate)),
        ),
    )


def _procedure(procedure: Procedure) -> str:
    lines = [f"Procedure: {procedure.title or procedure.id}", procedure.text]
    lines += [f"after {before}: {' or '.join(after)}" for before, after in procedure.graph.items()]
    return "\n".join(line for line in lines if line)


def _offer(schema: ProcessSchema, head: str) -> str:
    kind, _, name = head.partition(":")
    if kind == "send_reply":
        says = f'say "{schema.replies_by_id[name].text}"'
    elif kind == "submit_form":
        says = f"submit the form {schema.forms_by_id[name].title or name}"
    elif kind == "click_control":
        title = next((control.title for control in schema.controls if control.id == name), "")
        says = f"click {title or name}"
    else:
        says = {
            "send_text_to_chat": "write to the customer in your own words",
            "search_procedure": "search for a procedure",
            "close_chat": "close the case at once" if name == "now" else "close the case unless the customer writes",
            "transfer_chat": f"hand the case to {name}",
            "wait": "wait for the customer",
        }[kind]
    fields = [TEXT_HEADS[head]] if head in TEXT_HEADS else [_field(spec) for spec in argument_fields(schema, head)]
    return f"{head} - {says}" + (f" (arguments: {'; '.join(fields)})" if fields else "")


def _field(spec: FieldSpec) -> str:
    listed = listed_values(spec)
    shown = ", ".join(map(str, listed[:_MOST_CHOICES])) + (", ..." if len(listed) > _MOST_CHOICES else "")
    choices = f" {'one of' if is_closed(spec.schema_) else 'such as'} {shown}" if listed else ""
    return f"{spec.id}{choices}{'' if spec.required else ', may be left out'}"


def _event(schema: ProcessSchema, event: object) -> str | None:
    match event:
        case CustomerMessage(text=text):
            return f"Customer: {text}"
        case ScreenUpdate(form=form, values=values):
            shown = json.dumps(values, ensure_ascii=False)
            return f"Screen: {form or 'desk'} shows {shown}" if values or form else None
        case OperatorAction(action=action):
            return f"You: {_done(schema, action)}"
    return None


def _done(schema: ProcessSchema, action: UIAction) -> str:
    name = head_of(action)
    match action:
        case SendReply(template=template, slots=slots):
            reply = schema.replies_by_id.get(template)
            text = reply.text if reply is not None else ""
            for slot, value in slots.items():
                text = text.replace(f"{{{slot}}}", str(value))
            return f'{name} "{text}"'
        case SubmitForm(values=values):
            return f"{name} {json.dumps(values, ensure_ascii=False)}"
        case SendTextToChat(text=text) | SearchProcedure(query=text):
            return f'{name} "{text}"'
        case ClickControl() | TransferChat() | CloseChat() | _:
            return name


def _screen(screen: ScreenState, seen: frozenset[str]) -> str:
    """Where the operator is, and what the forms show unless the log has just said so (`seen`)."""
    lines = [f"you are on {screen.screen}"] if screen.screen is not None else []
    lines += [
        f"{form or 'desk'}: {json.dumps(values, ensure_ascii=False)}"
        for form, values in screen.shown.items()
        if values and form not in seen
    ]
    return "\n".join(lines) or "(nothing more)"
