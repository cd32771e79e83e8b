from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parcel_process import HOSTILE, PARCEL, actions, texts

from selective_autonomy.contract import Contract
from selective_autonomy.contract.pieces import Marker
from selective_autonomy.contract.values import read_value, write_value
from selective_autonomy.errors import ContractError
from selective_autonomy.process.actions import ClickControl, SendTextToChat, SubmitForm, UIAction, head

CONTRACT = Contract(PARCEL)


@given(actions)
def test_every_legal_action_reads_back_as_itself(action: UIAction) -> None:
    again = CONTRACT.parse_action(CONTRACT.action_text(action))
    assert again == action
    assert repr(again.model_dump()) == repr(CONTRACT.parse_action(CONTRACT.action_text(again)).model_dump())


@given(actions)
def test_every_legal_action_starts_with_the_marker_of_its_head(action: UIAction) -> None:
    assert head(action) in CONTRACT.heads
    assert CONTRACT.action_text(action).startswith(str(Marker(head(action))))


@given(st.one_of(texts, st.integers(), st.booleans(), st.floats(allow_nan=False)))
def test_a_value_reads_back_with_its_type(value: str | int | float | bool) -> None:
    again = read_value(write_value(value))
    assert (again, type(again)) == (value, type(value))


@pytest.mark.parametrize(
    "action",
    [
        ClickControl(control="a control of another process"),
        SubmitForm(form="refund", values={"no such field": HOSTILE}),
        SubmitForm(form="lookup", values={"number": 17}),
    ],
    ids=["unknown control", "unknown field", "number in a text field"],
)
def test_an_action_that_the_process_does_not_know_still_reads_back(action: UIAction) -> None:
    written = CONTRACT.action_text(action)
    assert written.startswith("<|other|>")
    assert CONTRACT.parse_action(written) == action


def test_fields_stand_in_schema_order_so_an_action_has_one_written_form() -> None:
    one = SubmitForm(form="refund", values={"who|=<x>": "Ann", "reason": "lost"})
    two = SubmitForm(form="refund", values={"reason": "lost", "who|=<x>": "Ann"})
    assert CONTRACT.action_text(one) == CONTRACT.action_text(two)


def test_a_written_action_is_what_a_person_would_write() -> None:
    assert CONTRACT.action_text(SendTextToChat(text="One moment.")) == "<|send_text_to_chat|> One moment.<|end|>"


@pytest.mark.parametrize(
    "written",
    [
        "",
        " only text",
        "<|wait|>",
        "<|end|>",
        "<|no_such_head|><|end|>",
        "<|send_text_to_chat|><|end|>",
        "<|submit_form:lookup|><|field:number|><|end|>",
        "<|submit_form:lookup|><|field:reason|> lost<|end|>",
        "<|submit_form:lookup|><|field:number|> P111<|field:number|> P222<|end|>",
        "<|other|> {}<|end|>",
        "<|other|><|end|>",
    ],
)
def test_text_that_is_no_action_is_refused(written: str) -> None:
    with pytest.raises(ContractError):
        CONTRACT.parse_action(written)
