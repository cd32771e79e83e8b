"""A UI action as pieces, and back: a head marker, then its arguments, then the end marker.

    <|submit_form:hotel_search|><|field:Name|> Hilton<|field:Stars|> 4<|end|>
    <|send_text_to_chat|> One moment, please.<|end|>
    <|close_chat:timer|><|end|>

Fields stand in schema order, so an action has one written form. An action whose ids the schema does not
know (an old log, another process) keeps its content behind the `other` marker; it can be read, never proposed.
"""

from __future__ import annotations

from pydantic import ValidationError

from selective_autonomy.contract.pieces import Marker, Piece, Text
from selective_autonomy.contract.values import holds_only_strings, read_value, write_value
from selective_autonomy.errors import ContractError
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
    Wait,
    head,
    ui_action_adapter,
)
from selective_autonomy.process.schema import FieldSpec, ProcessSchema, canonical_json

END = Marker("end")
OTHER = Marker("other")
TEXT_HEADS = {"send_text_to_chat": "text", "search_procedure": "query"}  # heads whose argument is bare text


def all_heads(schema: ProcessSchema) -> tuple[str, ...]:
    """Every head that some screen of the process may allow, in schema order."""
    of_type = {
        "search_procedure": ["search_procedure"],
        "submit_form": [f"submit_form:{form.id}" for form in schema.forms],
        "click_control": [f"click_control:{control.id}" for control in schema.controls],
        "send_reply": [f"send_reply:{reply.id}" for reply in schema.replies],
        "send_text_to_chat": ["send_text_to_chat"],
        "close_chat": ["close_chat:timer", "close_chat:now"],
        "transfer_chat": [f"transfer_chat:{queue}" for queue in schema.queues],
        "wait": ["wait"],
    }
    return tuple(name for action_type, names in of_type.items() if action_type in schema.actions for name in names)


def argument_fields(schema: ProcessSchema, head_name: str) -> tuple[FieldSpec, ...]:
    """The fields that follow a head: a form's fields, a reply's slots; empty for all other heads.

    Raises:
        ContractError: the schema has no such form or reply.
    """
    kind, _, name = head_name.partition(":")
    try:
        if kind == "submit_form":
            return schema.forms_by_id[name].fields
        if kind == "send_reply":
            return schema.replies_by_id[name].slots
    except KeyError as err:
        raise ContractError(f"got head {head_name!r}, expected one that process {schema.id!r} has") from err
    return ()


def field_marker(field_id: str) -> Marker:
    return Marker(f"field:{field_id}")


def action_pieces(schema: ProcessSchema, heads: frozenset[str], action: UIAction) -> tuple[Piece, ...]:
    """The pieces of an action, from its head to the end marker. `heads`: those of `all_heads(schema)`."""
    name = head(action)
    arguments = _argument_pieces(schema, action) if name in heads else None
    if arguments is None:
        return (OTHER, Text(canonical_json(action.model_dump(mode="json"))), END)
    return (Marker(name), *arguments, END)


def read_action(schema: ProcessSchema, heads: frozenset[str], pieces: tuple[Piece, ...]) -> UIAction:
    """The action that pieces stand for: the inverse of `action_pieces`.

    Raises:
        ContractError: the pieces are not a head, its arguments and the end marker.
    """
    if len(pieces) < 2 or not isinstance(pieces[0], Marker) or pieces[-1] != END:
        raise ContractError(f"got {pieces!r}, expected a head marker, arguments, and {END}")
    name, body = pieces[0].name, pieces[1:-1]
    if pieces[0] == OTHER:
        return _read_other(body)
    if name not in heads:
        raise ContractError(f"got head {name!r}, expected one of the process's heads")
    if name in TEXT_HEADS:
        if len(body) != 1 or not isinstance(body[0], Text):
            raise ContractError(f"got {body!r} after {name!r}, expected one text")
        return build_action(name, {TEXT_HEADS[name]: body[0].text})
    return build_action(name, _read_fields(argument_fields(schema, name), body))


def build_action(head_name: str, arguments: dict[str, Scalar]) -> UIAction:
    """The action of a head with its arguments (field id -> value, or the one text of a text head)."""
    kind, _, name = head_name.partition(":")
    match kind:
        case "search_procedure":
            return SearchProcedure(query=str(arguments["query"]))
        case "send_text_to_chat":
            return SendTextToChat(text=str(arguments["text"]))
        case "submit_form":
            return SubmitForm(form=name, values=arguments)
        case "send_reply":
            return SendReply(template=name, slots=arguments)
        case "click_control":
            return ClickControl(control=name)
        case "transfer_chat":
            return TransferChat(queue=name)
        case "close_chat":
            return CloseChat(timer=name == "timer")
        case "wait":
            return Wait()
    raise ContractError(f"got head {head_name!r}, expected an action type before the colon")


def _argument_pieces(schema: ProcessSchema, action: UIAction) -> tuple[Piece, ...] | None:
    """None: the arguments hold what the schema's fields cannot."""
    match action:
        case SendTextToChat(text=text) | SearchProcedure(query=text):
            return (Text(text),)
        case SubmitForm(values=values) | SendReply(slots=values):
            specs = argument_fields(schema, head(action))
            known = {spec.id for spec in specs}
            fits = all(
                isinstance(values[s.id], str) or not holds_only_strings(s.schema_) for s in specs if s.id in values
            )
            if not fits or not known.issuperset(values):
                return None
            filled = [spec for spec in specs if spec.id in values]
            pieces: list[Piece] = []
            for spec in filled:
                pieces += [field_marker(spec.id), Text(write_value(values[spec.id], spec))]
            return tuple(pieces)
    return ()


def _read_fields(specs: tuple[FieldSpec, ...], body: tuple[Piece, ...]) -> dict[str, Scalar]:
    by_marker = {field_marker(spec.id): spec for spec in specs}
    values: dict[str, Scalar] = {}
    for mark, text in zip(body[::2], body[1::2], strict=False):
        spec = by_marker.get(mark) if isinstance(mark, Marker) else None
        if spec is None or not isinstance(text, Text) or spec.id in values:
            raise ContractError(f"got {mark!r}, {text!r}, expected a field of {[s.id for s in specs]} and its text")
        values[spec.id] = read_value(text.text, spec)
    if len(body) % 2:
        raise ContractError(f"got {body[-1]!r} at the end of the fields, expected a field and its text")
    return values


def _read_other(body: tuple[Piece, ...]) -> UIAction:
    if len(body) != 1 or not isinstance(body[0], Text):
        raise ContractError(f"got {body!r} after {OTHER}, expected one JSON text")
    try:
        return ui_action_adapter.validate_json(body[0].text)
    except ValidationError as err:
        raise ContractError(f"{OTHER} holds no action: {err}") from err
