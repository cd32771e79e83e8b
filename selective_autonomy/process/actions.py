"""The closed set of UI actions (after the paper), and the *head* that names an action's choice.

An action is a head plus arguments. The head is the discrete choice an operator makes (which form,
which reply template, which control, which queue); arguments are what is typed into it. Policies
choose a head among the legal ones and then fill the arguments.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from selective_autonomy.frozen import Frozen

Scalar = str | int | float | bool


class SearchProcedure(Frozen):
    type: Literal["search_procedure"] = "search_procedure"
    query: str


class SubmitForm(Frozen):
    """Fill `form` with `values` (field id -> value) and submit it. Empty values: submitted blank."""

    type: Literal["submit_form"] = "submit_form"
    form: str
    values: dict[str, Scalar] = Field(default_factory=dict)


class ClickControl(Frozen):
    type: Literal["click_control"] = "click_control"
    control: str


class SendReply(Frozen):
    """Send the reply template with its slots filled (slot id -> value)."""

    type: Literal["send_reply"] = "send_reply"
    template: str
    slots: dict[str, Scalar] = Field(default_factory=dict)


class SendTextToChat(Frozen):
    type: Literal["send_text_to_chat"] = "send_text_to_chat"
    text: str


class CloseChat(Frozen):
    """Close the case; with `timer`, only if the customer stays silent."""

    type: Literal["close_chat"] = "close_chat"
    timer: bool = True


class TransferChat(Frozen):
    type: Literal["transfer_chat"] = "transfer_chat"
    queue: str


class Wait(Frozen):
    type: Literal["wait"] = "wait"


UIAction = Annotated[
    SearchProcedure | SubmitForm | ClickControl | SendReply | SendTextToChat | CloseChat | TransferChat | Wait,
    Field(discriminator="type"),
]
ActionType = Literal[
    "search_procedure",
    "submit_form",
    "click_control",
    "send_reply",
    "send_text_to_chat",
    "close_chat",
    "transfer_chat",
    "wait",
]
ACTION_TYPES: tuple[ActionType, ...] = (
    "search_procedure",
    "submit_form",
    "click_control",
    "send_reply",
    "send_text_to_chat",
    "close_chat",
    "transfer_chat",
    "wait",
)

ui_action_adapter: TypeAdapter[UIAction] = TypeAdapter(UIAction)


def head(action: UIAction) -> str:
    """The discrete choice of an action: `type` or `type:argument`, e.g. `submit_form:hotel_search`.

    Free text is one head whatever its words. Two actions with one head differ in arguments only.
    """
    match action:
        case SubmitForm(form=form):
            return f"submit_form:{form}"
        case ClickControl(control=control):
            return f"click_control:{control}"
        case SendReply(template=template):
            return f"send_reply:{template}"
        case TransferChat(queue=queue):
            return f"transfer_chat:{queue}"
        case CloseChat(timer=timer):
            return "close_chat:timer" if timer else "close_chat:now"
        case _:
            return action.type


def head_type(head_name: str) -> ActionType:
    """The action type of a head; the inverse of `head` as far as the type goes."""
    name = head_name.partition(":")[0]
    for action_type in ACTION_TYPES:
        if action_type == name:
            return action_type
    raise ValueError(f"no action type in head {head_name!r}; expected one of {ACTION_TYPES}")
