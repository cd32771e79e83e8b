from __future__ import annotations

import pytest

from selective_autonomy.process.actions import (
    CloseChat,
    SearchProcedure,
    SendReply,
    SendTextToChat,
    SubmitForm,
    UIAction,
)
from selective_autonomy.process.comparison import comparable, same_action, same_values

FORM = SubmitForm(form="book", values={"Name": "Hilton", "Nights": 4})


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Hilton", "hilton"),
        (4, "4"),
        (4.0, 4),
        (True, "true"),
        ('api.is_equal_to("Chase")', "chase"),
        ("is_equal_to(Chase)", "Chase"),
        ('api.is_one_of(["Lyft"])', "lyft"),
        ("is_one_of(Lyft)", "Lyft"),
        ('"quoted"', "quoted"),
        ("is_at_least(3)", "IS_AT_LEAST(3)"),
    ],
)
def test_values_that_mean_the_same_are_the_same(a: object, b: object) -> None:
    assert comparable(a) == comparable(b)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("is_one_of(Lyft, Taxi)", "Lyft"),
        ("is_at_least(3)", 3),
        ("Mia ", "Mia"),
        (True, 1),
        (4.5, 4),
        ("", "none"),
        ("031", 31),
    ],
)
def test_values_that_differ_stay_different(a: object, b: object) -> None:
    assert comparable(a) != comparable(b)  # type: ignore[arg-type]


def test_the_same_fields_must_be_filled() -> None:
    assert same_values({}, {})
    assert same_values({"a": 1, "b": "X"}, {"b": "x", "a": "1"})
    assert not same_values({"a": 1}, {"a": 1, "b": ""})
    assert not same_values({"a": 1}, {"b": 1})


@pytest.mark.parametrize(
    ("a", "b", "levels"),
    [
        (FORM, SubmitForm(form="book", values={"Nights": "4", "Name": "hilton"}), {"tool", "loose", "strict"}),
        (FORM, SubmitForm(form="book", values={"Name": "Hyatt", "Nights": 4}), {"tool"}),
        (FORM, SubmitForm(form="search", values=FORM.values), set()),
        (SendReply(template="hello"), SendReply(template="hello"), {"tool", "loose", "strict"}),
        (SendReply(template="price", slots={"p": 1}), SendReply(template="price", slots={"p": 2}), {"tool"}),
        (SendReply(template="hello"), SendReply(template="bye"), set()),
        (SendTextToChat(text="one"), SendTextToChat(text="one"), {"tool", "loose"}),
        (SendTextToChat(text="one"), SendTextToChat(text="other"), {"tool", "loose"}),
        (SendReply(template="custom", slots={"text": "a"}), SendReply(template="custom"), {"tool", "loose"}),
        (SearchProcedure(query="refund"), SearchProcedure(query="Refund"), {"tool", "loose", "strict"}),
        (SearchProcedure(query="refund"), SearchProcedure(query="fraud"), {"tool"}),
        (CloseChat(timer=True), CloseChat(timer=True), {"tool", "loose", "strict"}),
        (CloseChat(timer=True), CloseChat(timer=False), set()),
    ],
)
def test_each_level_asks_for_what_it_says(a: UIAction, b: UIAction, levels: set[str]) -> None:
    for one, other in ((a, b), (b, a)):
        assert {level for level in ("tool", "loose", "strict") if same_action(one, other, level)} == levels
