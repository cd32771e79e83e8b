"""Values by counting: what stands under the field's name, then what the customer said last, then what is usual."""

from __future__ import annotations

from pathlib import Path

import pytest
from parcel_process import PARCEL, do, say, session, show

from selective_autonomy.errors import ModelError
from selective_autonomy.policy.values.usual import UsualValues
from selective_autonomy.process.actions import Scalar, SubmitForm
from selective_autonomy.traces.schema import Session

REFUND = "submit_form:refund"


def values(*reasons: str) -> UsualValues:
    train = [
        session(do(SubmitForm(form="refund", values={"reason": reason, "who|=<x>": "Ann"})), session_id=f"t{i}")
        for i, reason in enumerate(reasons)
    ]
    return UsualValues.fit(train, PARCEL)


def given(model: UsualValues, before: Session) -> dict[str, Scalar]:
    filled = model.fill(before, REFUND)
    assert filled is not None
    return {argument.field: argument.value for argument in filled.arguments}


def test_of_the_usual_values_the_one_that_the_customer_said_last_is_taken() -> None:
    model = values("late", "late", "lost")
    assert given(model, session(say("It is late.")))["reason"] == "late"
    assert given(model, session(say("It is late, no: LOST!")))["reason"] == "lost"
    assert given(model, session(say("Hello?")))["reason"] == "late"


def test_a_value_inside_another_word_was_not_said() -> None:
    assert given(values("late", "late", "lost"), session(say("Almost losts?")))["reason"] == "late"


def test_of_two_values_said_in_one_breath_the_longer_one_is_meant() -> None:
    model = values("late", "late", "late and wet")
    assert given(model, session(say("It came late and wet")))["reason"] == "late and wet"


def test_what_stands_under_the_fields_name_comes_before_what_was_said() -> None:
    before = session(say("It was lost"), show("refund", reason="late and wet"))
    assert given(values("lost"), before)["reason"] == "late and wet"


def test_a_field_that_operators_leave_empty_stays_so_unless_it_is_said() -> None:
    model = values("late", "late", "lost")
    assert set(given(model, session(say("late"), show("refund", items=3)))) == {"reason", "who|=<x>"}


def test_a_required_field_without_any_value_cannot_be_filled() -> None:
    empty = UsualValues.fit([], PARCEL)
    assert empty.fill(session(say("")), "submit_form:lookup") is None
    assert empty.fill(session(), "send_text_to_chat") is None


def test_counts_survive_saving_and_a_damaged_file_is_refused(tmp_path: Path) -> None:
    model, before = values("late", "lost", "lost"), session(say("hello"))
    model.save(tmp_path / "values.json")
    assert UsualValues.load(tmp_path / "values.json", PARCEL).fill(before, REFUND) == model.fill(before, REFUND)
    (tmp_path / "values.json").write_text('{"version": 1}')
    with pytest.raises(ModelError, match="train"):
        UsualValues.load(tmp_path / "values.json", PARCEL)
