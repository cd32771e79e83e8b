from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selective_autonomy.process.admission import quick_check
from selective_autonomy.process.schema import FieldSpec

_numbers = st.one_of(st.integers(-3, 12), st.sampled_from([0.5, 1.0, 3.0, -2.5, float("inf"), float("nan")]))
_scalars = st.one_of(
    st.booleans(), _numbers, st.sampled_from(["", "a", "ab", "is_9", "1", "true", "Ann Lee"]), st.text(max_size=4)
)
_type = st.sampled_from(["string", "integer", "number", "boolean", "null"])
_keywords: dict[str, st.SearchStrategy[Any]] = {
    "type": st.one_of(_type, st.lists(_type, min_size=1, max_size=3, unique=True)),
    "enum": st.lists(_scalars, min_size=1, max_size=4),
    "const": _scalars,
    "pattern": st.sampled_from(["^a", "b$", "^[A-Z][a-z]+ ", "^is_[0-9]"]),
    "minimum": st.integers(-2, 5),
    "maximum": st.integers(2, 9),
    "minLength": st.integers(0, 3),
    "maxLength": st.integers(0, 3),
    "format": st.just("email"),
    "title": st.text(max_size=3),
}
_plain = st.fixed_dictionaries({}, optional=_keywords)
_schemas = st.one_of(
    _plain,
    st.fixed_dictionaries({"anyOf": st.lists(_plain, min_size=1, max_size=3)}, optional={"type": _keywords["type"]}),
)


@given(_schemas, st.lists(_scalars, min_size=1, max_size=8))
@settings(deadline=None, max_examples=400)
def test_the_quick_check_says_what_jsonschema_says(schema: dict[str, Any], values: list[Any]) -> None:
    check = quick_check(schema)
    assert check is not None
    validator = jsonschema.Draft202012Validator(schema)
    for value in values:
        assert check(value) == validator.is_valid(value), value


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "multipleOf": 5},
        {"anyOf": [{"type": "string"}, {"not": {"const": 3}}]},
        {"anyOf": [True]},
        {"enum": [None, "a"]},
    ],
)
def test_a_schema_beyond_the_quick_check_is_left_to_jsonschema(schema: dict[str, Any]) -> None:
    assert quick_check(schema) is None
    spec, validator = FieldSpec(id="f", schema=schema), jsonschema.Draft202012Validator(schema)
    for value in (5, 7, 3, "a", "", True):
        assert spec.admits(value) == validator.is_valid(value)
