"""Placeholders for what a customer typed: which one a value really is, and made-up text of the same shape.

The packed values of one press repeat its first placeholder where the chat holds several: `<username>` three times for a
username, an e-mail address and an order number. And a policy that was shown `<order_id>` knows no number when it meets
one. So the other values take placeholders that were said, and each placeholder is drawn as text once a conversation.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from selective_autonomy.traces.importers.abcd.source import Button

_PLACEHOLDER = re.compile(r"<(\w+)>")
_DOLLARS = re.compile(r"\$ ?(\d+|<amount>)")
_ADDRESS = re.compile(r"<street_address>[^<>?]{1,40}<zip_code>")
_REACH = 4  # messages back in which the customer may have said what is typed now
_LETTERS_AND_DIGITS = string.ascii_lowercase + string.digits
_STREETS = [
    "lincoln ave",
    "circle drive",
    "primrose street",
    "lexington ave",
    "kennedy st",
    "bushwick dr",
    "1st ave",
    "south street",
]
_PRODUCTS = ("jacket", "shirt", "boots", "jeans")


def repair(buttons: Sequence[Button], slots: Mapping[str, Sequence[str]]) -> tuple[tuple[Button, ...], int]:
    """Name the values that repeat the first placeholder of their press; how many were renamed.

    A value takes the placeholder of its own slot if that was said lately and no value of the press has it, else the
    first one said lately that none has; if there is none it stays as it is. A lone value whose placeholder is not in
    the message before the press is what that message says: an address, another placeholder, an amount.
    """
    repaired: list[Button] = []
    changed = 0
    for at, button in enumerate(buttons):
        said = [name for b in reversed(buttons[max(0, at - _REACH) : at + 1]) for name in _PLACEHOLDER.findall(b.said)]
        values = list(button.values)
        own = slots.get(button.name, ())
        for i, value in enumerate(values):
            if value not in button.values[:i] or not _PLACEHOLDER.fullmatch(value):
                continue
            free = [
                name for name in dict.fromkeys(said) if f"<{name}>" not in values and name not in ("amount", "name")
            ]
            if i < len(own) and own[i] in free:
                values[i] = f"<{own[i]}>"
            elif free:
                values[i] = f"<{free[0]}>"
            changed += values[i] != value
        marked = list(values)
        if len(values) == 1 and _PLACEHOLDER.fullmatch(values[0]) and values[0] not in button.said:
            before = (b.said for b in reversed(buttons[max(0, at - _REACH) : at]))
            values, marked = _lone(values[0], button.said, before)
            changed += values != list(button.values)
        repaired.append(replace(button, values=tuple(values), marked=tuple(marked)))
    return tuple(repaired), changed


def _lone(value: str, message: str, before: Iterable[str]) -> tuple[list[str], list[str]]:
    """What a value is whose placeholder was not said, and how to file it.

    An address, else the last placeholder, else the last dollars of the message; else the last dollars in one before.
    """
    if addresses := _ADDRESS.findall(message):
        return [addresses[-1]], ["<full_address>"]
    for said in (re.findall(r"<\w+>", message), *map(_DOLLARS.findall, (message, *before))):
        if said:
            return [said[-1]], [said[-1]]
    return [value], [value]


def draw(buttons: Sequence[Button], conversation: int) -> tuple[Button, ...]:
    """Replace each placeholder by made-up text of its shape, the same in messages and values of one conversation.

    The same on every machine. A placeholder of no known shape stays.
    """
    rng = random.Random(f"abcd {conversation}")
    username = _username(rng)
    shapes: dict[str, Callable[[], str]] = {
        "username": lambda: username,
        "email": lambda: (
            f"{username if rng.random() < 0.8 else _username(rng)}@{rng.choice(('email', 'email', 'gmail'))}.com"
        ),
        "account_id": lambda: "".join(rng.choices(_LETTERS_AND_DIGITS, k=10)),
        "order_id": partial(_digits, rng, 10),
        "zip_code": partial(_digits, rng, 5),
        "pin_number": partial(_digits, rng, 6),
        "phone": lambda: rng.choice(("({}) {}-{}", "{}-{}-{}", "{} {}-{}", "{} {} {}")).format(
            _digits(rng, 3), _digits(rng, 3), _digits(rng, 4)
        ),
        "street_address": lambda: f"{_digits(rng, 4)} {rng.choice(_STREETS)}",
        "full_address": lambda: f"{_digits(rng, 4)} {rng.choice(_STREETS)}",
        "amount": lambda: str(rng.randint(10, 99)),
        "name": lambda: rng.choice(_PRODUCTS),
    }
    drawn: dict[str, str] = {}

    def text(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in drawn:
            drawn[name] = shapes[name]() if name in shapes else found.group()
        return drawn[name]

    return tuple(
        replace(b, values=tuple(_PLACEHOLDER.sub(text, v) for v in b.values), said=_PLACEHOLDER.sub(text, b.said))
        for b in buttons
    )


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(string.digits, k=count))


def _username(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 10))) + _digits(rng, rng.randint(1, 6))
