"""The wording bank: how customers and operators say things, and what an operator's text means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from selective_autonomy.errors import ProcessError


@dataclass(frozen=True)
class Meaning:
    """What an operator's message does, whichever words carry it.

    `asks`: facts it asks for; `recheck`: because the ones given did not work. `tells`: the BPMN duty it
    fulfils. `answers`: the customer's question it answers. `replies` maps templates to their style.
    """

    id: str
    replies: dict[str, str]
    texts: tuple[str, ...]
    asks: tuple[str, ...] = ()
    recheck: bool = False
    tells: str = ""
    answers: str = ""


class Wording:
    """All phrases of the desk, read from `data/desk_wording`."""

    def __init__(self, folder: Path) -> None:
        self.customers = _read(folder / "customers.yaml")
        self.names: dict[str, list[str]] = _read(folder / "names.yaml")
        self.searches: dict[str, list[str]] = _read(folder / "searches.yaml")
        self.meanings = {
            key: Meaning(
                id=key,
                replies=entry["replies"],
                texts=tuple(entry["texts"]),
                asks=tuple(entry.get("asks", ())),
                recheck=entry.get("recheck", False),
                tells=entry.get("tells", ""),
                answers=entry.get("answers", ""),
            )
            for key, entry in _read(folder / "operators.yaml").items()
        }
        self.by_template = {reply: m for m in self.meanings.values() for reply in m.replies}
        self._by_text = [(_pattern(text), m) for m in self.meanings.values() for text in m.texts]
        self._by_search = {word.lower(): name for name, words in self.searches.items() for word in words}

    @classmethod
    @cache
    def load(cls, folder: Path) -> Wording:
        """Read a folder once a process.

        Raises:
            ProcessError: a file is missing or is not YAML.
        """
        return cls(folder)

    def read(self, text: str) -> Meaning | None:
        """The meaning of an operator's free text whatever its slot values; None: no phrase of the bank."""
        plain = normalise(text)
        return next((meaning for pattern, meaning in self._by_text if pattern.fullmatch(plain)), None)

    def find_procedure(self, query: str) -> str | None:
        """The procedure that a search finds: the only one with a word of the query; None otherwise."""
        words = query.lower().split()
        found = {self._by_search[word] for word in words if word in self._by_search}
        return found.pop() if len(found) == 1 else None


def normalise(text: str) -> str:
    """Lower case, no punctuation, single spaces: what two texts must share to say the same."""
    return " ".join(re.sub(r"[^\w\s]", "", text.lower()).split())


def fill(template: str, values: Mapping[str, Any]) -> str | None:
    """The text with its `{slot}` marks filled; None when a value is not known."""
    try:
        return template.format_map(values)
    except KeyError:
        return None


def _pattern(text: str) -> re.Pattern[str]:
    """Matches the normalised text whatever stands in its slots."""
    parts = (re.escape(normalise(part)) for part in re.split(r"\{\w+\}", text))
    return re.compile(" ?(.+?) ?".join(parts))


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as err:
        raise ProcessError(f"cannot read the desk's wording {path}: {err}") from err
    if not isinstance(data, dict):
        raise ProcessError(f"{path} holds {type(data).__name__}, expected a mapping of phrases")
    return data
