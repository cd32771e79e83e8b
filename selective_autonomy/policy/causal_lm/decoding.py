"""Fill the arguments of chosen heads: all steps of a batch together, one token each per forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selective_autonomy.policy.causal_lm.branches import Branches, KeyValues
from selective_autonomy.policy.causal_lm.walk import Walk


@dataclass(frozen=True, slots=True)
class Opening:
    """A step whose head is chosen: where its prompt ends in the cached prefix, the head's token, its walk."""

    keys_values: KeyValues
    cut: int
    head_id: int
    walk: Walk


def fill_arguments(model: Any, openings: Sequence[Opening], *, room: int) -> None:
    """Run every walk to its end. Heads without arguments cost nothing. `room`: most tokens of one action."""
    live = [opening for opening in openings if not opening.walk.done]
    if not live:
        return
    branches = Branches(model, [o.keys_values for o in live], [o.cut for o in live], room)
    tokens = [o.head_id for o in live]
    while True:
        logits = branches.step(tokens)
        tokens = [o.walk.step(row) for o, row in zip(live, logits, strict=True)]
        rows = [i for i, o in enumerate(live) if not o.walk.done]
        if not rows:
            return
        if len(rows) < len(live):  # a finished branch costs as much as a live one
            branches.keep(rows)
            live, tokens = [live[i] for i in rows], [tokens[i] for i in rows]
