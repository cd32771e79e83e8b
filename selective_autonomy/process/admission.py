"""Whether a scalar is valid under a field's JSON Schema, without walking the schema each time.

A policy asks this of every span of every message. jsonschema builds validators and errors as it goes, the closures
below do not, and say the same: a property test holds the two together. A schema with a
keyword that is not here is left to jsonschema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], bool]

# Say something, ask for nothing: `format` is a note too, as jsonschema checks none unless it is told to.
NOTES = frozenset({"title", "description", "examples", "default", "$comment", "format"})


def quick_check(schema: Mapping[str, Any]) -> Check | None:
    """A check of scalars that agrees with jsonschema; None: the schema has a keyword that only jsonschema knows."""
    checks: list[Check] = []
    for keyword, value in schema.items():
        if keyword in NOTES:
            continue
        check = _KEYWORDS[keyword](value) if keyword in _KEYWORDS else None
        if check is None:
            return None
        checks.append(check)
    if len(checks) == 1:
        return checks[0]
    return lambda value: all(check(value) for check in checks)


def _type(names: str | list[str]) -> Check | None:
    kinds = {names} if isinstance(names, str) else set(names)
    return lambda value: bool(_kinds_of(value) & kinds)


def _kinds_of(value: object) -> set[str]:
    if isinstance(value, str):
        return {"string"}
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return {"integer", "number"}
    return {"number"} if isinstance(value, float) else set()


def _enum(choices: list[Any]) -> Check | None:
    if not all(isinstance(choice, str | bool | int | float) for choice in choices):
        return None
    # 1 and 1.0 are one value, 1 and true are two.
    known = {(isinstance(choice, bool), choice) for choice in choices}
    return lambda value: (isinstance(value, bool), value) in known


def _pattern(pattern: str) -> Check | None:
    found = re.compile(pattern).search
    return lambda value: not isinstance(value, str) or found(value) is not None


def _any_of(branches: list[Any]) -> Check | None:
    checks = [quick_check(branch) if isinstance(branch, Mapping) else None for branch in branches]
    known = [check for check in checks if check is not None]
    return None if len(known) < len(checks) else lambda value: any(check(value) for check in known)


def _bound(holds: Callable[[Any, Any], bool]) -> Callable[[Any], Check | None]:
    return lambda bound: lambda value: isinstance(value, bool | str) or holds(value, bound)


def _length(holds: Callable[[int, int], bool]) -> Callable[[Any], Check | None]:
    return lambda bound: lambda value: not isinstance(value, str) or holds(len(value), bound)


_KEYWORDS: dict[str, Callable[[Any], Check | None]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda value: _enum([value]),
    "pattern": _pattern,
    "anyOf": _any_of,
    # As jsonschema puts it: what is not below a bound holds, which is how it takes NaN.
    "minimum": _bound(lambda value, bound: not value < bound),
    "maximum": _bound(lambda value, bound: not value > bound),
    "minLength": _length(lambda length, bound: length >= bound),
    "maxLength": _length(lambda length, bound: length <= bound),
}
