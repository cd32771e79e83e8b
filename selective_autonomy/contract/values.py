"""How one value is written as text, and read back to the same value and type.

A field that can only hold strings is written bare. Elsewhere numbers and booleans are written as JSON,
and a string that would read as one of those, or that starts with a quote, is written as a JSON string.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from selective_autonomy.process.actions import Scalar
from selective_autonomy.process.schema import FieldSpec


def write_value(value: Scalar, spec: FieldSpec | None = None) -> str:
    """The text of a value; `spec` None: nothing is known about the field."""
    if not isinstance(value, str):
        return json.dumps(value)
    if spec is not None and holds_only_strings(spec.schema_):
        return value
    return value if _reads_as_bare_string(value) else json.dumps(value, ensure_ascii=False)


def read_value(text: str, spec: FieldSpec | None = None) -> Scalar:
    """The value that a text stands for: the inverse of `write_value` for the same `spec`. Total."""
    if spec is not None and holds_only_strings(spec.schema_):
        return text
    return text if _reads_as_bare_string(text) else _json_scalar(text)


def holds_only_strings(schema: Mapping[str, Any]) -> bool:
    """True if every value that this JSON Schema admits is a string, as far as it says so plainly."""
    if schema.get("type") == "string":
        return True
    if "enum" in schema:
        return all(isinstance(choice, str) for choice in schema["enum"])
    if "const" in schema:
        return isinstance(schema["const"], str)
    branches = schema.get("anyOf") or schema.get("oneOf") or ()
    return bool(branches) and all(holds_only_strings(branch) for branch in branches)


def _reads_as_bare_string(text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return True
    return not isinstance(value, str | int | float | bool)


def _json_scalar(text: str) -> Scalar:
    value: Scalar = json.loads(text)
    return value
