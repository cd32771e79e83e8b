"""How far a case has come: a fold over its log that says what head features need, without reading it again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from selective_autonomy.policy.heads.graph import node_of
from selective_autonomy.process.actions import head
from selective_autonomy.traces.schema import CustomerMessage, Event, OperatorAction, ScreenUpdate

_WORD = re.compile(r"[^\W\d_]+")


def words_of(text: str) -> frozenset[str]:
    """Words of letters, in lower case; an id's parts are words."""
    return frozenset(_WORD.findall(text.lower().replace("_", " ")))


class Progress:
    """What was done and what came last.

    `procedure`: the open one that the last telling head belongs to, the first by id of several; None: none told yet.
    `trigger`: the kind of the last event. `shown`: the fields of the last result.
    """

    def __init__(self, procedures: Sequence[str], procedures_of: Mapping[str, frozenset[str]]) -> None:
        self._open, self._procedures_of = frozenset(procedures), procedures_of
        self.procedure: str | None = procedures[0] if len(procedures) == 1 else None
        self.heads: list[str] = []
        self.times: Counter[str] = Counter()
        self.nodes: set[str] = set()
        self.trigger = "start"
        self.last_words: frozenset[str] = frozenset()
        self.shown: frozenset[str] = frozenset()

    def add(self, event: Event) -> None:
        """Take in the next event. Proposals, feedback and notes change nothing."""
        match event:
            case CustomerMessage(text=text):
                self.trigger, self.last_words = "customer", words_of(text)
            case ScreenUpdate(values=values):
                self.trigger, self.shown = "screen", frozenset(values)
                self.last_words = words_of(" ".join(map(str, values.values())))
            case OperatorAction(action=action):
                name = head(action)
                self.heads.append(name)
                self.times[name] += 1
                self.nodes.add(node_of(name))
                self.trigger = "operator"
                of = self._procedures_of.get(name, frozenset()) & self._open
                if of and self.procedure not in of:
                    self.procedure = min(of)

    @property
    def last_node(self) -> str | None:
        return node_of(self.heads[-1]) if self.heads else None
