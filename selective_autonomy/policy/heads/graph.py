"""A procedure's step graph as what a head's place in it says: what it follows, how deep it stands, what comes before.

Nodes are heads (`submit_form:x`) or reply ids; any other node is a *state* of the case ("available", "no"): it is
entered by what a form or the customer answers, and so it has successors but no logged action of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from selective_autonomy.process.schema import Procedure


def node_of(head: str) -> str:
    """A head's node: replies stand in graphs by their id alone."""
    kind, _, name = head.partition(":")
    return name if kind == "send_reply" else head


@dataclass(frozen=True)
class ProcedureGraph:
    """One procedure's graph. `before`: all actions that lead to a node; in a cycle the node itself is one of them.

    `starts`: actions that follow nothing. `depth`: steps from a start or a state; absent where neither leads.
    """

    nodes: frozenset[str]
    states: frozenset[str]
    after: Mapping[str, frozenset[str]]
    directly_before: Mapping[str, frozenset[str]]
    before: Mapping[str, frozenset[str]]
    starts: frozenset[str]
    depth: Mapping[str, int]

    @classmethod
    def of(cls, procedure: Procedure, heads: Iterable[str]) -> ProcedureGraph:
        """The graph of a procedure. `heads`: all of the process, to tell states from actions."""
        known = {node_of(head) for head in heads}
        after = {node: frozenset(following) for node, following in procedure.graph.items()}
        nodes = frozenset(after).union(*after.values()) if after else frozenset()
        states = nodes - known
        directly_before = {n: frozenset(m for m, following in after.items() if n in following) for n in nodes}
        starts = frozenset(n for n in nodes - states if not directly_before[n])
        return cls(
            nodes,
            states,
            after,
            directly_before,
            {n: _reachable(n, directly_before) - states for n in nodes},
            starts,
            _depths(nodes, after, starts, states),
        )


def _reachable(node: str, edges: Mapping[str, frozenset[str]]) -> frozenset[str]:
    seen: set[str] = set()
    waiting = deque(edges.get(node, ()))
    while waiting:
        following = waiting.popleft()
        if following not in seen:
            seen.add(following)
            waiting.extend(edges.get(following, ()))
    return frozenset(seen)


def _depths(
    nodes: frozenset[str], after: Mapping[str, frozenset[str]], starts: frozenset[str], states: frozenset[str]
) -> dict[str, int]:
    """Breadth first from the starts, then from the states that these do not lead to.

    Such a state is entered by an answer to a form, so it stands where the deepest form stands.
    """
    depth: dict[str, int] = {}
    _spread(depth, sorted(starts), 0, after)
    forms = max((d for node, d in depth.items() if node.startswith("submit_form:")), default=0)
    _spread(depth, sorted(states), forms, after)
    return depth


def _spread(depth: dict[str, int], sources: Iterable[str], level: int, after: Mapping[str, frozenset[str]]) -> None:
    waiting = deque((node, level) for node in sources)
    while waiting:
        node, at = waiting.popleft()
        if node not in depth:
            depth[node] = at
            waiting.extend((following, at + 1) for following in sorted(after.get(node, ())))
