"""Fill the arguments of chosen heads: all steps of a batch together, as few forward passes as the choices allow.

What is typed into a form mostly stands in the log already, and a form is mostly filled in as it was the last time. So
each pass also reads a guess of what comes next, the tokens that followed the same two tokens last time, and keeps as
much of it as the walk would have chosen anyway. The choices are those of one token at a time; guesses save passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.policy.causal_lm.branches import Branches, Layers
from selective_autonomy.policy.causal_lm.walk import Walk

_GUESS = 6  # tokens; a small model reads six more for a quarter of what a pass costs


@dataclass(frozen=True, slots=True)
class Opening:
    """A step whose head is chosen: its prompt's tokens and the layers that hold them, the head's token, its walk.

    `read`: the tokens of the action that the model has read, as they are decoded.
    """

    layers: Layers
    prompt_T: NDArray[np.int32]
    head_id: int
    walk: Walk
    read: list[int] = field(default_factory=list)


def fill_arguments(model: Any, openings: Sequence[Opening], *, context: int) -> None:
    """Run every walk to its end. Heads without arguments cost nothing, nor do tokens that leave no choice.

    `context`: positions that the model has; no guess goes beyond them.
    """
    pending = [[o.head_id, *o.walk.forced()] for o in openings]
    live = [i for i, o in enumerate(openings) if not o.walk.done]
    if not live:
        return
    branches = Branches(model, [openings[i].layers for i in live], [len(openings[i].prompt_T) for i in live])
    while True:
        guesses = [_guess(openings[i], pending[i], context) for i in live]
        logits = branches.step(
            [[*pending[i], *guess] for i, guess in zip(live, guesses, strict=True)], last=1 + max(map(len, guesses))
        )
        unconfirmed = []
        for i, guess, rows in zip(live, guesses, logits, strict=True):
            confirmed, after = _confirm(openings[i].walk, guess, rows[len(rows) - len(guess) - 1 :])
            openings[i].read.extend([*pending[i], *guess[:confirmed]])
            unconfirmed.append(len(guess) - confirmed)
            pending[i] = after
        branches.take_back(unconfirmed)
        rows_left = [row for row, i in enumerate(live) if not openings[i].walk.done]
        if not rows_left:
            return
        if len(rows_left) < len(live):  # a finished branch costs as much as a live one
            branches.keep(rows_left)
            live = [live[row] for row in rows_left]


def _confirm(walk: Walk, guess: Sequence[int], logits_GV: NDArray[np.float32]) -> tuple[int, list[int]]:
    """Walk on; how many guessed tokens it chose, and the tokens after them that the model has not read.

    Args:
        logits_GV: (len(guess) + 1, V), before the guess and after each of its tokens.
    """
    confirmed = 0
    while not walk.done:
        taken = [walk.step(logits_GV[confirmed].astype(np.float64)), *walk.forced()]
        for place, token in enumerate(taken):
            if confirmed == len(guess) or guess[confirmed] != token:
                return confirmed, taken[place:]
            confirmed += 1
    return confirmed, []


def _guess(opening: Opening, pending: Sequence[int], context: int) -> list[int]:
    """What followed the last two tokens the last time they stood in the log; empty if they never did."""
    ids = np.concatenate([opening.prompt_T, np.array([*opening.read, *pending], dtype=np.int32)])
    places = np.flatnonzero((ids[1:-1] == ids[-1]) & (ids[:-2] == ids[-2]))
    if not len(places):  # the value's first words, where only the name of its field has stood before
        places = np.flatnonzero(ids[1:-1] == ids[-1])
    start = int(places[-1]) + 2 if len(places) else len(ids)
    found: list[int] = ids[start : start + min(_GUESS, max(0, context - len(ids)))].tolist()
    return found
