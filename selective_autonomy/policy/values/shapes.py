"""What a text looks like, whatever it says: an e-mail address, a number, a code, a phone number, words."""

from __future__ import annotations

import re

EDGES = ".,;:!?\"'"
_NUMBER = re.compile(r"\d+")
_SIGNED = re.compile(r"[\d\s()+./$%:,-]+")
_BRACKETS = {"(": ")", "[": "]"}


def shape(text: str) -> int:
    """0 empty · 1 with @ · 2 digits · 3 digits, signs · 4 letters, digits · 5 words, digits · 6 a word · 7 words."""
    if not text:
        return 0
    if "@" in text:
        return 1
    if text.isascii() and text.isdigit():
        return 2
    has_digit = bool(_NUMBER.search(text))
    if has_digit and _SIGNED.fullmatch(text):
        return 3
    if has_digit:
        return 5 if " " in text else 4
    return 7 if " " in text else 6


def trimmed(text: str) -> str:
    """Without a sentence's marks around it; a bracket goes if its other half is not there: `(791) 582-4288` stays."""
    before = None
    while text != before:
        before = text
        text = text.strip(EDGES)
        for opening, closing in _BRACKETS.items():
            if text.count(opening) != text.count(closing):
                text = text.removeprefix(opening).removesuffix(closing)
            if text.startswith(opening) and text.endswith(closing):
                text = text[1:-1]
    return text
