"""Training examples: one per session window, loss on operator actions only, batched by length.

A batch is padded on the right, where causal attention never looks from a real token: so no mask is
needed and attention stays on its fast path. Packing sessions end to end under a block mask was the
alternative; it loses that path, and sorting by length leaves under 5 % padding anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.traces.schema import Session

_LENGTH_JITTER = 0.1  # batches differ from epoch to epoch though they are cut from lengths in order


@dataclass(frozen=True, slots=True)
class Example:
    """One window: `ids` up to its last learned token; `learned`: positions whose token is to be predicted."""

    ids: tuple[int, ...]
    learned: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """`ids` (B, T) padded on the right; `rows` (B, T) True where a prediction is made; `targets` (N,) what comes there.

    `tokens`: how many were read, padding not counted.
    """

    ids: torch.Tensor
    rows: torch.Tensor
    targets: torch.Tensor
    tokens: int


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of some sessions. `truncated`: sessions that did not fit whole; `unknown`: actions that the
    process does not know, which are context only."""

    examples: list[Example]
    truncated: int
    unknown: int


def make_examples(sessions: Sequence[Session], prompter: Prompter, *, context: int) -> Examples:
    """The examples of the train sessions. Windows without anything to learn are left out."""
    examples: list[Example] = []
    truncated = unknown = 0
    for session in sessions:
        encoded = prompter.encode(session)
        truncated += encoded.truncated
        for window in encoded.windows:
            unknown += sum(not p.teaches for p in window.prompts)
            spans = [range(p.start + 1, min(p.end, context)) for p in window.prompts if p.teaches]
            learned = tuple(position for span in spans for position in span)
            if learned:
                examples.append(Example(window.ids[: learned[-1] + 1], learned))
    return Examples(examples, truncated, unknown)


def plan_epoch(lengths: Sequence[int], *, batch_tokens: int, seed: int, epoch: int) -> list[list[int]]:
    """Which examples go together in each step of an epoch: a function of its arguments, so a run can resume anywhere.

    A batch has at most `batch_tokens` tokens with its padding, or is one example.
    """
    rng = np.random.default_rng([seed, epoch])
    jittered = np.asarray(lengths) * rng.uniform(1 - _LENGTH_JITTER, 1 + _LENGTH_JITTER, len(lengths))
    batches: list[list[int]] = [[]]
    widest = 0
    for index in np.argsort(jittered, kind="stable").tolist():
        widest = max(widest, lengths[index])
        if batches[-1] and widest * (len(batches[-1]) + 1) > batch_tokens:
            batches.append([])
            widest = lengths[index]
        batches[-1].append(index)
    return [batches[i] for i in rng.permutation(len(batches))]


def make_batch(examples: Sequence[Example], *, pad_id: int, device: torch.device | str) -> Batch:
    """The tensors of one step; the last token of an example is a target only, never read."""
    width = max(len(example.ids) for example in examples) - 1
    ids_BT = torch.full((len(examples), width), pad_id)
    rows_BT = torch.zeros((len(examples), width), dtype=torch.bool)
    targets: list[int] = []
    for row, example in enumerate(examples):
        ids_BT[row, : len(example.ids) - 1] = torch.tensor(example.ids[:-1])
        rows_BT[row, [position - 1 for position in example.learned]] = True
        targets += [example.ids[position] for position in example.learned]
    tokens = sum(len(example.ids) for example in examples)
    return Batch(ids_BT.to(device), rows_BT.to(device), torch.tensor(targets, device=device), tokens)
