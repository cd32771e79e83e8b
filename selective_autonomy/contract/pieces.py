"""The alphabet of the contract: markers, which are one token each, and text, which never becomes one.

Written out, a marker is `<|name|>` and a text is a space followed by the text with every `<|` broken by
a backslash. So whatever a customer types, the written form splits back into the same pieces, and no
typed text can forge a marker. The leading space makes a word tokenise alike at the start of a value and
inside a sentence, which is what lets a model copy it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote

from selective_autonomy.errors import ContractError

_SAFE_IN_NAMES = ":_-.,/=+()"  # everything else in an id is percent-encoded, above all `|`, `<`, `>`, `%`, spaces
_MARKER = re.compile(r"<\|([^|<>\s]*)\|>")


@dataclass(frozen=True, slots=True)
class Marker:
    """A token of the contract: a role, a head or a field. `name` may hold any characters."""

    name: str

    def __str__(self) -> str:
        return f"<|{quote(self.name, safe=_SAFE_IN_NAMES)}|>"


@dataclass(frozen=True, slots=True)
class Text:
    """Ordinary text; may be empty and may hold anything, look-alikes of markers included."""

    text: str

    def __str__(self) -> str:
        return " " + escape(self.text)


Piece = Marker | Text


def escape(text: str) -> str:
    r"""Break every `<|` as `<\|` and double every backslash; `unescape` is the inverse."""
    return text.replace("\\", "\\\\").replace("<|", "<\\|")


def unescape(text: str) -> str:
    """The inverse of `escape`. Backslashes that `escape` never writes are kept as they are."""
    return re.sub(r"\\\\|(?<=<)\\\|", lambda match: match.group()[1], text)


def write_pieces(pieces: Iterable[Piece]) -> str:
    """The written form of pieces, one after the other."""
    return "".join(map(str, pieces))


def split_pieces(written: str) -> tuple[Piece, ...]:
    """The pieces of a written form; the inverse of `write_pieces`. The empty text has no pieces.

    Raises:
        ContractError: text stands where no space opens it.
    """
    pieces: list[Piece] = []
    end = 0
    for match in _MARKER.finditer(written):
        _append_text(pieces, written[end : match.start()])
        pieces.append(Marker(unquote(match.group(1))))
        end = match.end()
    _append_text(pieces, written[end:])
    return tuple(pieces)


def _append_text(pieces: list[Piece], written: str) -> None:
    if not written:
        return
    if not written.startswith(" "):
        raise ContractError(f"got text {written[:40]!r} after a marker, expected a space to open it; render it first")
    pieces.append(Text(unescape(written[1:])))
