"""Numbers that say how a head stands to the case, in words of any process: none of them names a head or a procedure.

So what a model learns from them about one procedure holds for another that it never saw.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.contract.actions import all_heads
from selective_autonomy.policy.heads.graph import ProcedureGraph, node_of
from selective_autonomy.policy.heads.progress import Progress, words_of
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import OperatorAction, Session

FEATURES = (
    *("in_graph", "follows_last", "follows_state", "follows_state_now", "before_it_done", "starts"),
    *("depth_known", "depth_change", "next_depth", "same_depth", "back", "state_said"),
    *("share_before_done", "has_slots", "slots_shown", "slots_shown_now", "words_said"),
    *("times_done", "never_done", "done_last", "same_procedure", "other_procedure", "common"),
    *("form", "form_after_result", "form_after_form", "other_after_result", "first_step", "one_of"),
)
_COLUMN = {name: i for i, name in enumerate(FEATURES)}
_KINDS = {"submit_form": "forms", "send_reply": "replies", "click_control": "controls"}  # ids are unique within a kind
_SLOT = re.compile(r"\{(\w+)\}")
_MOST_TIMES, _MOST_DEPTH = 3, 3


class HeadFeatures:
    """Features of the legal heads of a step, for one process schema. Sees nothing but the log and the schema."""

    def __init__(self, schema: ProcessSchema) -> None:
        heads = all_heads(schema)
        self._graphs = {p.id: ProcedureGraph.of(p, heads) for p in schema.procedures}
        self._procedures_of = {name: _owners(schema, self._graphs, name) for name in heads}
        self._slots = {f"send_reply:{reply.id}": frozenset(_SLOT.findall(reply.text)) for reply in schema.replies}
        self._words = {name: words_of(node_of(name)) for name in heads}
        self._state_words = {s: words_of(s) for graph in self._graphs.values() for s in graph.states}

    def procedures_of(self, head: str) -> frozenset[str]:
        """The procedures that a head belongs to; empty for one that every case may use."""
        return self._procedures_of.get(head, frozenset())

    def next(self, session: Session, legal: Sequence[str]) -> NDArray[np.float32]:
        """`x_AF` of an open log, one row a legal head."""
        progress = Progress(session.procedures, self._procedures_of)
        for event in session.events:
            progress.add(event)
        return self._rows(progress, session.procedures, legal)

    def steps(self, session: Session, legal: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """The same before each operator action of a log; `legal`: the legal heads there."""
        progress = Progress(session.procedures, self._procedures_of)
        rows: list[NDArray[np.float32]] = []
        for event in session.events:
            if isinstance(event, OperatorAction):
                rows.append(self._rows(progress, session.procedures, legal[len(rows)]))
            progress.add(event)
        return rows

    def _rows(self, at: Progress, procedures: Sequence[str], legal: Sequence[str]) -> NDArray[np.float32]:
        x_AF = np.zeros((len(legal), len(FEATURES)), dtype=np.float32)
        graphs = [self._graphs[p] for p in procedures if p in self._graphs]
        for row, name in zip(x_AF, legal, strict=True):
            found = self._of_case(at, name, len(legal))
            for graph in graphs:
                if node_of(name) in graph.nodes:
                    self._of_graph(found, at, graph, node_of(name))
            for feature, value in found.items():
                row[_COLUMN[feature]] = value
        return x_AF

    def _of_case(self, at: Progress, name: str, legal_count: int) -> dict[str, float]:
        owners = self.procedures_of(name)
        form, after_result = name.startswith("submit_form"), at.trigger == "screen"
        slots, words = self._slots.get(name), self._words[name]
        shown = len(slots & at.shown) / len(slots) if slots else 0.0
        return {
            "has_slots": bool(slots),
            "slots_shown": shown,
            "slots_shown_now": shown * after_result,
            "words_said": len(words & at.last_words) / max(1, len(words)),
            "times_done": min(at.times[name], _MOST_TIMES) / _MOST_TIMES,
            "never_done": at.times[name] == 0,
            "done_last": bool(at.heads) and at.heads[-1] == name,
            "same_procedure": at.procedure is not None and at.procedure in owners,
            "other_procedure": at.procedure is not None and bool(owners) and at.procedure not in owners,
            "common": not owners,
            "form": form,
            "form_after_result": form and after_result,
            "form_after_form": form and bool(at.heads) and at.heads[-1].startswith("submit_form"),
            "other_after_result": not form and after_result,
            "first_step": not at.heads,
            "one_of": 1 / legal_count,
        }

    def _of_graph(self, found: dict[str, float], at: Progress, graph: ProcedureGraph, node: str) -> None:
        """Where several open procedures have the node, each feature is that of the one where it is largest.

        The change of depth has a sign: it is that of the last one that tells it.
        """
        last, now = at.last_node, at.trigger == "screen"
        states = graph.directly_before[node] & graph.states
        before = graph.before[node]
        new: dict[str, float] = {
            "in_graph": 1,
            "follows_last": last is not None and node in graph.after.get(last, ()),
            "follows_state": bool(states),
            "follows_state_now": bool(states) and now,
            "before_it_done": bool(graph.directly_before[node] & at.nodes),
            "starts": node in graph.starts,
            "state_said": any(self._state_words[state] & at.last_words for state in states),
            "share_before_done": len(before & at.nodes) / len(before) if before else 0.0,
        }
        if last is not None and last in graph.depth and node in graph.depth:
            change = graph.depth[node] - graph.depth[last]
            new |= {"depth_known": 1, "next_depth": change == 1, "same_depth": change == 0, "back": change < 0}
            found["depth_change"] = max(-_MOST_DEPTH, min(_MOST_DEPTH, change)) / _MOST_DEPTH
        for feature, value in new.items():
            found[feature] = max(float(value), found.get(feature, 0.0))


def _owners(schema: ProcessSchema, graphs: Mapping[str, ProcedureGraph], name: str) -> frozenset[str]:
    """The procedures that list a head or have it in their graph; none where every case may use it."""
    action_type, _, item = name.partition(":")
    kind = _KINDS.get(action_type)
    if not item or (kind is not None and item in getattr(schema, f"common_{kind}")):
        return frozenset()
    return frozenset(
        procedure.id
        for procedure in schema.procedures
        if (kind is not None and item in getattr(procedure, kind)) or node_of(name) in graphs[procedure.id].nodes
    )
