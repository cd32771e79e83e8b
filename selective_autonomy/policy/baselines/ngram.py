"""Which head follows which: an n-gram over heads with back-off. A cheap second view on every proposal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.errors import ModelError
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.traces.schema import CustomerMessage, OperatorAction, ScreenUpdate, Session

Trigger = Literal["start", "customer", "screen", "operator"]
ALL_CONTEXTS = 5  # as many as `_contexts` gives
_VERSION = 1
_REMEMBERED = 10_000  # distributions; some 1.5 kB each


@dataclass(frozen=True)
class Situation:
    """What the n-gram sees of a log: the procedures open, what came last, and the heads done, oldest first."""

    procedures: tuple[str, ...]
    trigger: Trigger
    heads: tuple[str, ...]


def situation_of(session: Session) -> Situation:
    """The situation after the last event of a log. Proposals, feedback and notes are not looked at."""
    trigger: Trigger = "start"
    heads: list[str] = []
    for event in session.events:
        if isinstance(event, OperatorAction):
            heads.append(head_of(event.action))
            trigger = "operator"
        elif isinstance(event, CustomerMessage):
            trigger = "customer"
        elif isinstance(event, ScreenUpdate):
            trigger = "screen"
    return Situation(session.procedures, trigger, tuple(heads))


class HeadNgram:
    """P(next head | procedures, what came last, last two heads), interpolated from general to specific.

    Contexts, each backing off to the one before it: nothing · procedures · what came last and the last head ·
    both · both and the head before. Witten–Bell weights: a context counts as much as it is bigger than varied.
    Fit on train only: the critic's evidence must not have seen the sessions it is fitted or certified on.
    """

    def __init__(self, counts: dict[str, dict[str, int]]) -> None:
        self.counts = counts
        self.heads: tuple[str, ...] = tuple(sorted(counts.get(_key(()), {})))
        self._index = {name: i for i, name in enumerate(self.heads)}
        self._known: dict[str, NDArray[np.float64]] = {}

    @classmethod
    def fit(cls, sessions: Iterable[Session]) -> HeadNgram:
        """Count every operator action of the sessions.

        Raises:
            ModelError: there is none.
        """
        counts: dict[str, Counter[str]] = {}
        for session in sessions:
            trigger: Trigger = "start"
            heads: list[str] = []
            for event in session.events:
                if isinstance(event, OperatorAction):
                    name = head_of(event.action)
                    for context in _contexts(Situation(session.procedures, trigger, tuple(heads[-2:]))):
                        counts.setdefault(context, Counter())[name] += 1
                    heads.append(name)
                    trigger = "operator"
                elif isinstance(event, CustomerMessage):
                    trigger = "customer"
                elif isinstance(event, ScreenUpdate):
                    trigger = "screen"
        if not counts:
            raise ModelError("no operator action to count; give train sessions that have steps")
        return cls({context: dict(seen) for context, seen in counts.items()})

    def distribution(self, situation: Situation, *, contexts: int = ALL_CONTEXTS) -> NDArray[np.float64]:
        """`p_H` over `self.heads`, summing to 1. Do not change it: situations repeat, so it is remembered.

        `contexts`: how many of the contexts, the most general ones first, are looked at; at least 1.
        """
        keys = _contexts(situation)[:contexts]
        known = self._known.get(keys[-1])
        if known is not None:
            return known
        p_H = np.full(len(self.heads), 1 / len(self.heads))
        for context in keys:
            seen = self.counts.get(context)
            if seen is not None:
                weight_H = p_H * len(seen)
                weight_H[[self._index[name] for name in seen]] += np.fromiter(seen.values(), dtype=np.float64)
                p_H = weight_H / weight_H.sum()
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[keys[-1]] = p_H
        return p_H

    def index(self, head: str) -> int | None:
        """Where a head stands in `self.heads`; None for one that train never did."""
        return self._index.get(head)

    def count(self, head: str) -> int:
        """How often train did this head."""
        return self.counts[_key(())].get(head, 0)

    def count_after(self, situation: Situation, head: str) -> int:
        """How often train did this head after the same last head and the same kind of event."""
        return self.counts.get(_key(_after(situation)), {}).get(head, 0)

    def count_procedures(self, procedures: Sequence[str]) -> int:
        """How many steps train has of sessions with exactly these procedures open."""
        return sum(self.counts.get(_key(("procedures", *procedures)), {}).values())

    def save(self, path: Path) -> None:
        """Write the counts as one JSON file."""
        text = json.dumps({"version": _VERSION, "counts": self.counts}, sort_keys=True, ensure_ascii=False)
        path.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> HeadNgram:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing, damaged or of another version.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["version"] != _VERSION:
                raise ModelError(f"{path} has version {data['version']!r}, expected {_VERSION}; fit it again")
            return cls(data["counts"])
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise ModelError(f"{path} is not an n-gram over heads: {err}; fit it again") from err


def _after(situation: Situation) -> tuple[str, ...]:
    return ("after", situation.trigger, *situation.heads[-1:])


def _contexts(situation: Situation) -> tuple[str, ...]:
    """Keys of the contexts of a situation, from the most general on."""
    procedures, after = situation.procedures, _after(situation)
    return (
        _key(()),
        _key(("procedures", *procedures)),
        _key(after),
        _key((*after, "in", *procedures)),
        _key((*after, "before", *situation.heads[-2:-1], "in", *procedures)),
    )


def _key(parts: tuple[str, ...]) -> str:
    return "\x1f".join(parts)
