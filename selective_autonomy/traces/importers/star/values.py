"""What a STAR operator put into a form field, from the logged constraint text to a typed value.

A constraint is Python-like text: `"Angela"`, `4`, `True`, `null`, `api.is_equal_to("Chase")`,
`api.is_one_of(["Lyft","Taxi"])`, `api.is_at_least(3)`. Equality is unwrapped; every other comparator stays, as
the expression `is_one_of(Lyft, Taxi)` or `is_at_least(3)`; a field that was opened and left blank is "".
"""

from __future__ import annotations

import json
import re

from selective_autonomy.process.actions import Scalar

COMPARATORS = (
    "is_equal_to",
    "is_one_of",
    "is_not",
    "is_at_least",
    "is_at_most",
    "is_greater_than",
    "is_less_than",
    "contains",
    "contains_not",
)
# A comparator over values, or "" for a field that was left blank: what any typed field may hold beside its type.
EXPRESSION_PATTERN = rf"^(({'|'.join(COMPARATORS)})\([\s\S]*\))?$"

_CALL = re.compile(r"api\.(\w+)\((.*)\)", re.DOTALL)


def constraint_value(text: str, field_type: str) -> Scalar:
    """The value of one constraint.

    Args:
        text: as logged.
        field_type: the API's word for the field (`Integer`, `Boolean`, `Categorical`, `ShortString`, ...). Digits
            in a text field stay text: an account number may start with 0.
    """
    call = _CALL.fullmatch(text)
    if call is None:
        return _typed(_literal(text), field_type)
    comparator, arguments = call.group(1), _arguments(call.group(2))
    if len(arguments) <= 1 and comparator in ("is_equal_to", "is_one_of"):
        return _typed(arguments[0] if arguments else "", field_type)
    return f"{comparator}({', '.join(arguments)})"


def _arguments(text: str) -> list[str]:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not inner.strip():
        return []
    try:
        values = json.loads(f"[{inner}]")
    except json.JSONDecodeError:
        return [_literal(inner)]
    return [value if isinstance(value, str) else _literal(json.dumps(value)) for value in values]


def _literal(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except json.JSONDecodeError:
            return text[1:-1]
    return "" if text == "null" else text


def _typed(text: str, field_type: str) -> Scalar:
    if field_type == "Integer" and re.fullmatch(r"-?(0|[1-9][0-9]*)", text):
        return int(text)
    if field_type == "Boolean" and text in ("True", "False"):
        return text == "True"
    return text
