"""Which actions a screen allows. The policy decodes within this, the gate and the importers check it."""

from __future__ import annotations

from selective_autonomy.errors import IllegalAction
from selective_autonomy.process.actions import (
    ClickControl,
    CloseChat,
    Scalar,
    SearchProcedure,
    SendReply,
    SendTextToChat,
    SubmitForm,
    TransferChat,
    UIAction,
)
from selective_autonomy.process.schema import FieldSpec, ProcessSchema
from selective_autonomy.traces.screen import ScreenState


def open_forms(schema: ProcessSchema, screen: ScreenState) -> tuple[str, ...]:
    """Forms that may be submitted on this screen, in schema order."""
    if screen.forms is not None:
        return tuple(f.id for f in schema.forms if f.id in screen.forms)
    return _open(schema, screen, "forms")


def open_controls(schema: ProcessSchema, screen: ScreenState) -> tuple[str, ...]:
    """Controls that may be clicked on this screen, in schema order."""
    if screen.controls is not None:
        return tuple(c.id for c in schema.controls if c.id in screen.controls)
    return _open(schema, screen, "controls")


def open_replies(schema: ProcessSchema, screen: ScreenState) -> tuple[str, ...]:
    """Reply templates of the open procedures and the common ones, in schema order."""
    return _open(schema, screen, "replies")


def legal_heads(schema: ProcessSchema, screen: ScreenState) -> tuple[str, ...]:
    """Every head that is legal on this screen, in schema order; empty once the case is closed.

    An action type takes part if the schema's `actions` lists it.
    """
    if screen.closed:
        return ()
    listed = schema.actions
    heads: list[str] = []
    if "search_procedure" in listed:
        heads.append("search_procedure")
    if "submit_form" in listed:
        heads += [f"submit_form:{f}" for f in open_forms(schema, screen)]
    if "click_control" in listed:
        heads += [f"click_control:{c}" for c in open_controls(schema, screen)]
    if "send_reply" in listed:
        heads += [f"send_reply:{r}" for r in open_replies(schema, screen)]
    if "send_text_to_chat" in listed:
        heads.append("send_text_to_chat")
    if "close_chat" in listed:
        heads += ["close_chat:timer", "close_chat:now"]
    if "transfer_chat" in listed:
        heads += [f"transfer_chat:{q}" for q in schema.queues]
    if "wait" in listed:
        heads.append("wait")
    return tuple(heads)


def check_action(schema: ProcessSchema, screen: ScreenState, action: UIAction) -> None:
    """Raise unless the action may be done on this screen.

    Raises:
        IllegalAction: the case is closed; the action type is not part of the process; the form, control,
            template or queue is not open; a value's field is unknown, has the wrong type or is missing
            though required; a text is empty. `field` names the culprit.
    """
    if screen.closed:
        raise IllegalAction(f"the case is closed; got {action.type!r}, expected no further action")
    if action.type not in schema.actions:
        raise IllegalAction(
            f"process {schema.id!r} has no action {action.type!r}; expected one of {sorted(schema.actions)}",
            field="type",
        )
    match action:
        case SubmitForm(form=form, values=values):
            _check_open("form", form, open_forms(schema, screen))
            _check_values(f"form {form!r}", schema.forms_by_id[form].fields, values)
        case SendReply(template=template, slots=slots):
            _check_open("template", template, open_replies(schema, screen))
            _check_values(f"reply {template!r}", schema.replies_by_id[template].slots, slots)
        case ClickControl(control=control):
            _check_open("control", control, open_controls(schema, screen))
        case TransferChat(queue=queue):
            _check_open("queue", queue, schema.queues)
        case SendTextToChat(text=text):
            if not text.strip():
                raise IllegalAction("the text to send is empty; write something or choose another action", field="text")
        case SearchProcedure(query=query):
            if not query.strip():
                raise IllegalAction("the search query is empty; give at least one word", field="query")
        case CloseChat() | _:
            pass


def _open(schema: ProcessSchema, screen: ScreenState, kind: str) -> tuple[str, ...]:
    allowed = set(getattr(schema, f"common_{kind}"))
    for procedure_id in screen.procedures:
        procedure = schema.procedures_by_id.get(procedure_id)
        if procedure is None:
            raise IllegalAction(
                f"process {schema.id!r} has no procedure {procedure_id!r}; expected one of "
                f"{sorted(schema.procedures_by_id)}",
                field="procedures",
            )
        allowed.update(getattr(procedure, kind))
    return tuple(item.id for item in getattr(schema, kind) if item.id in allowed)


def _check_open(field: str, got: str, expected: tuple[str, ...]) -> None:
    if got not in expected:
        raise IllegalAction(
            f"{field} {got!r} is not open on this screen; expected one of {list(expected)}", field=field
        )


def _check_values(where: str, fields: tuple[FieldSpec, ...], values: dict[str, Scalar]) -> None:
    specs = {f.id: f for f in fields}
    for name, value in values.items():
        if name not in specs:
            raise IllegalAction(f"{where} has no field {name!r}; expected some of {sorted(specs)}", field=name)
        problem = next(specs[name].validator.iter_errors(value), None)
        if problem is not None:
            raise IllegalAction(f"{where}, field {name!r}: {problem.message}", field=name)
    missing = [f.id for f in fields if f.required and f.id not in values]
    if missing:
        raise IllegalAction(f"{where} lacks required fields {missing}", field=missing[0])
