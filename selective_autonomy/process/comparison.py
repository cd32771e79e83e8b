"""When a proposed action counts as the operator's own: the `tool`, `loose` and `strict` levels.

The levels are those of the corpora's reference numbers: *tool* asks for the same head; *loose* also for the
same arguments, while free text of the same head counts as right; *strict* is loose with free text always
wrong, since two texts that differ in words may or may not say the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from selective_autonomy.process.actions import Scalar, SearchProcedure, SendReply, SendTextToChat, SubmitForm, UIAction
from selective_autonomy.process.actions import head as head_of

Level = Literal["tool", "loose", "strict"]

# Templates that hold nothing but the operator's own words (STAR's label for a reply typed past the suggestions).
FREE_TEMPLATES = frozenset({"custom"})

_WRAPPED = re.compile(r"(?:api\.)?(?:is_equal_to|is_one_of)\((.*)\)", re.DOTALL)


def comparable(value: Scalar) -> str:
    """One text for values that mean the same: unwrapped, without quotes, in lower case.

    `is_equal_to(x)` and a one-element `is_one_of([x])` are x; 4, 4.0 and "4" are one value, and so are True
    and "true". Other expressions (`is_at_least(3)`, `is_one_of(a, b)`) stay whole. Blanks are kept: the
    reference numbers were taken so.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).lower()
    wrapped = _WRAPPED.fullmatch(text)
    if wrapped is not None:
        inner = _unquoted(wrapped.group(1).removeprefix("[").removesuffix("]"))
        if "," not in inner:
            return inner
    return _unquoted(text)


def same_values(a: Mapping[str, Scalar], b: Mapping[str, Scalar]) -> bool:
    """True if both fill the same fields with values that mean the same; two empty mappings are the same."""
    return a.keys() == b.keys() and all(comparable(a[name]) == comparable(b[name]) for name in a)


def is_free_text(action: UIAction) -> bool:
    """True for an action whose argument is the operator's own words to the customer."""
    return isinstance(action, SendTextToChat) or (isinstance(action, SendReply) and action.template in FREE_TEMPLATES)


def same_action(a: UIAction, b: UIAction, level: Level) -> bool:
    """True if the two actions are the same at `level`; symmetric in `a` and `b`."""
    if head_of(a) != head_of(b):
        return False
    if level == "tool":
        return True
    if is_free_text(a):
        return level == "loose"
    match a, b:
        case SubmitForm(values=values_a), SubmitForm(values=values_b):
            return same_values(values_a, values_b)
        case SendReply(slots=slots_a), SendReply(slots=slots_b):
            return same_values(slots_a, slots_b)
        case SearchProcedure(query=query_a), SearchProcedure(query=query_b):
            return comparable(query_a) == comparable(query_b)
    return True


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'" else text
