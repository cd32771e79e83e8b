from __future__ import annotations

import re
from pathlib import Path

import pytest
from small_abcd import TRAIN, UNALIGNED, step, write_packed

from selective_autonomy.process.actions import SubmitForm
from selective_autonomy.traces.importers.abcd import import_abcd
from selective_autonomy.traces.importers.abcd.placeholders import draw, repair
from selective_autonomy.traces.importers.abcd.source import Button
from selective_autonomy.traces.schema import CustomerMessage, OperatorAction


def press(name: str, values: tuple[str, ...], said: str) -> Button:
    return Button(name, values, said, values)


SLOTS = {"check-order": ("username", "email", "order_id"), "verify": ("name", "account_id", "order_id", "zip_code")}


def test_a_repeated_placeholder_becomes_that_of_its_own_slot() -> None:
    one = press("check-order", ("<username>", "<username>", "<username>"), "<order_id>, <email>, <username>")
    (repaired,), changed = repair([one], SLOTS)
    assert repaired.values == ("<username>", "<email>", "<order_id>")
    assert changed == 2


def test_without_its_own_slots_placeholder_a_value_takes_another_one_that_was_said() -> None:
    one = press("verify", ("mia moe", "<zip_code>", "<zip_code>"), "zip <zip_code>, phone <phone>, for <amount>")
    (repaired,), _ = repair([one], SLOTS)
    assert repaired.values == ("mia moe", "<zip_code>", "<phone>")


@pytest.mark.parametrize(
    ("before", "said", "value", "mark"),
    [
        ("", "my pin is <pin_number>", "<pin_number>", "<pin_number>"),
        (
            "",
            "to <street_address> newark, tx <zip_code> please",
            "<street_address> newark, tx <zip_code>",
            "<full_address>",
        ),
        ("", "shall i charge $20?", "20", "20"),
        ("you owe $20", "yes, pay it", "20", "20"),
        ("<phone>", "yes", "<username>", "<username>"),
        ("", "<username> and <phone>", "<username>", "<username>"),
    ],
)
def test_a_lone_value_whose_placeholder_was_not_said_is_what_was(before: str, said: str, value: str, mark: str) -> None:
    presses = [press("ask-boss", (), before), press("enter", ("<username>",), said)]
    repaired, _ = repair(presses, SLOTS)
    assert (repaired[1].values, repaired[1].marked) == ((value,), (mark,))


def test_nothing_is_renamed_where_nothing_else_was_said_lately() -> None:
    old = press("ask-boss", (), "<email>")
    silence = [press("ask-boss", (), "hm")] * 5
    one = press("check-order", ("<username>", "<username>", "<username>"), "<username>")
    repaired, changed = repair([old, *silence, one], SLOTS)
    assert repaired[-1] == one
    assert changed == 0


def test_a_placeholder_is_one_text_of_its_shape_throughout_a_conversation() -> None:
    presses = [
        press("verify", ("<order_id>", "<zip_code>", "<phone>"), "<order_id> <zip_code> <phone> <amount>"),
        press("check-order", ("<username>", "<email>", "<order_id>"), "<username>: <email>, again <order_id>"),
    ]
    first, second = draw(presses, 7)
    order, zip_code, phone = first.values
    assert re.fullmatch(r"\d{10}", order)
    assert re.fullmatch(r"\d{5}", zip_code)
    assert len(re.sub(r"\D", "", phone)) == 10
    assert re.fullmatch(r"[a-z0-9]+@[a-z]+\.com", second.values[1])
    assert second.values[2] == order
    assert second.said == f"{second.values[0]}: {second.values[1]}, again {order}"
    assert "<" not in first.said + second.said


def test_conversations_draw_differently_and_each_one_the_same_again() -> None:
    presses = [press("check-order", ("<order_id>",), "<order_id>")]
    assert draw(presses, 7) == draw(presses, 7)
    assert draw(presses, 7) != draw(presses, 8)


def test_a_placeholder_of_no_known_shape_stays() -> None:
    one = press("verify", ("<shoe>",), "my <shoe>")
    assert draw([one], 7) == (one,)


def test_imported_values_stand_in_what_was_said_and_no_placeholder_is_left(tmp_path: Path) -> None:
    two = {**TRAIN, "convo_id": 11, "steps": [step("check-order", ["<email>", "<email>"], "<email> <order_id>")]}
    found = import_abcd(write_packed(tmp_path, [TRAIN, two, UNALIGNED]))
    for session in found.sessions:
        said = " ".join(e.text for e in session.events if isinstance(e, CustomerMessage))
        for event in session.events:
            if isinstance(event, OperatorAction) and isinstance(event.action, SubmitForm):
                assert all(str(value) in said for value in event.action.values.values() if "bike" not in str(value))
        assert "<" not in said
    renamed = "values that repeated another one's placeholder, renamed by what was said"
    assert found.report.not_represented[renamed] == 3
