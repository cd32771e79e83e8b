"""The words behind a head: what a reply says, what a form asks for. They are all that is known of a head never done."""

from __future__ import annotations

from selective_autonomy.process.schema import ProcessSchema

_ACTIONS = {
    "search_procedure": "search the procedures",
    "send_text_to_chat": "write a message to the customer",
    "close_chat": "close the chat",
    "wait": "wait for the customer",
}


def head_text(schema: ProcessSchema, head: str) -> str:
    """A sentence for a head of the process."""
    kind, _, name = head.partition(":")
    match kind:
        case "send_reply":
            return schema.replies_by_id[name].text
        case "submit_form":
            form = schema.forms_by_id[name]
            return f"{form.title or form.id}: {', '.join(spec.title or spec.id for spec in form.fields)}"
        case "click_control":
            return next((c.title or c.id for c in schema.controls if c.id == name), name)
        case "transfer_chat":
            return f"transfer the chat to {name}"
    return " ".join([_ACTIONS[kind], name]).strip()
