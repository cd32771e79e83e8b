"""Fill the arguments of chosen heads: all steps of a batch together, one forward pass per choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from selective_autonomy.policy.causal_lm.branches import Branches, Layers
from selective_autonomy.policy.causal_lm.walk import Walk


@dataclass(frozen=True, slots=True)
class Opening:
    """A step whose head is chosen: where its prompt ends in the cached prefix, the head's token, its walk.

    `read`: the tokens of the action that the model has read, as they are decoded.
    """

    layers: Layers
    cut: int
    head_id: int
    walk: Walk
    read: list[int] = field(default_factory=list)


def fill_arguments(model: Any, openings: Sequence[Opening]) -> None:
    """Run every walk to its end. Heads without arguments cost nothing, nor do tokens that leave no choice."""
    pending = [[o.head_id, *o.walk.forced()] for o in openings]
    live = [i for i, o in enumerate(openings) if not o.walk.done]
    if not live:
        return
    branches = Branches(model, [openings[i].layers for i in live], [openings[i].cut for i in live])
    while True:
        logits = branches.step([pending[i] for i in live])
        for i, row in zip(live, logits, strict=True):
            walk = openings[i].walk
            openings[i].read.extend(pending[i])
            pending[i] = [walk.step(row), *walk.forced()]
        rows = [row for row, i in enumerate(live) if not openings[i].walk.done]
        if not rows:
            return
        if len(rows) < len(live):  # a finished branch costs as much as a live one
            branches.keep(rows)
            live = [live[row] for row in rows]
