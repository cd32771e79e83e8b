"""Personal data in free text: well-known patterns, and values that were typed into PII fields before.

Finds kinds, never returns what it found: a report about a leak must not leak.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from selective_autonomy.process.actions import Scalar

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# Issuer prefixes and lengths of the large networks; without them every tenth long number would pass for a card.
_CARD = re.compile(
    r"(?<!\d)(?:3[47]\d{2}[ -]?\d{6}[ -]?\d{5}"
    r"|(?:4\d{3}|5[1-5]\d{2}|2[2-7]\d{2}|6011|65\d{2})[ -]?\d{4}[ -]?\d{4}[ -]?\d{4})(?!\d)"
)
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[A-Z0-9]{11,30}|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?)(?![A-Za-z0-9])"
)
# Separators or a leading + are required: ten bare digits are as often an order number as a phone number.
_PHONE = re.compile(
    r"(?<![\d+])(?:\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}|(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4})(?!\d)"
)
_DIGIT = re.compile(r"\d")


def kinds_of_personal_data(text: str, known_values: Iterable[str] = ()) -> tuple[str, ...]:
    """Which kinds of personal data stand in `text`: of "e-mail", "card", "iban", "phone", "pii field".

    `known_values` are values typed into PII fields earlier (`identifying_value` says which are looked for).
    Card numbers must pass the Luhn check and IBANs the mod-97 check. Empty text: no kind.
    """
    kinds = []
    if "@" in text and _EMAIL.search(text):
        kinds.append("e-mail")
    folded = text.casefold()
    if any(value in folded for value in known_values):
        kinds.append("pii field")
    if not _DIGIT.search(text):
        return tuple(kinds)
    cards = [m.group() for m in _CARD.finditer(text) if _passes_luhn(m.group())]
    ibans = [m.group() for m in _IBAN.finditer(text) if _passes_mod_97(m.group())]
    if cards:
        kinds.append("card")
    if ibans:
        kinds.append("iban")
    for found in (*cards, *ibans):
        text = text.replace(found, " ")
    if any(8 <= len(_DIGIT.findall(m.group())) <= 15 for m in _PHONE.finditer(text)):
        kinds.append("phone")
    return tuple(kinds)


def identifying_value(value: Scalar) -> str | None:
    """The text to look for when a PII field held `value`; None if repeating it is ordinary service.

    Only values that single a person out by themselves: an address with "@", or at least six characters with four
    digits (account, order, phone numbers). "Thank you, Ann" repeats a PII field and is no leak.
    """
    text = str(value).strip().casefold()
    if "@" in text or (len(text) >= 6 and len(_DIGIT.findall(text)) >= 4):
        return text
    return None


def _passes_luhn(number: str) -> bool:
    digits = [int(d) for d in _DIGIT.findall(number)]
    doubled = [2 * d - 9 * (d > 4) for d in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _passes_mod_97(number: str) -> bool:
    compact = number.replace(" ", "")
    turned = compact[4:] + compact[:4]
    return int("".join(str(int(c, 36)) for c in turned)) % 97 == 1
