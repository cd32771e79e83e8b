"""Training examples: one per session window, loss on operator actions only, batched by length.

A batch is padded on the right, where causal attention never looks from a real token: so no mask is
needed and attention stays on its fast path. Packing sessions end to end under a block mask was the
alternative; it loses that path, and sorting by length leaves under 5 % padding anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.process.actions import ActionType
from selective_autonomy.traces.schema import OperatorAction, Session
from selective_autonomy.traces.screen import Choice, is_chosen

_LENGTH_JITTER = 0.1  # batches differ from epoch to epoch though they are cut from lengths in order


@dataclass(frozen=True, slots=True)
class Example:
    """One window: `ids` up to its last learned token; `learned`: positions whose token is to be predicted.

    `weights`: as long as `learned`; how much each of them counts in the loss.
    """

    ids: tuple[int, ...]
    learned: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """`ids` (B, T) padded on the right; `rows` (B, T) True where a prediction is made; `targets` (N,) what comes there.

    `weights` (N,): how much each prediction counts. `tokens`: how many were read, padding not counted.
    """

    ids: torch.Tensor
    rows: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    tokens: int


def make_examples(
    sessions: Sequence[Session],
    prompter: Prompter,
    *,
    context: int,
    choice: Choice | None = None,
    action_weights: Mapping[ActionType, float] | None = None,
) -> tuple[list[Example], int]:
    """The examples of the train sessions, and how many sessions were truncated.

    Only chosen steps are learned; the others are context. Windows without anything to learn are left out.
    `action_weights`: the weight of an action type's tokens, 1 where none is given.
    """
    examples: list[Example] = []
    truncated = 0
    for session in sessions:
        encoded = prompter.encode(session)
        truncated += encoded.truncated
        for window in encoded.windows:
            learned: list[int] = []
            weights: list[float] = []
            for prompt in window.prompts:
                if prompt.teaches and is_chosen(choice, session.session_id, prompt.position):
                    span = range(prompt.start + 1, min(prompt.end, context))
                    learned += span
                    weights += [_weight(session, prompt.position, action_weights or {})] * len(span)
            if learned:
                examples.append(Example(window.ids[: learned[-1] + 1], tuple(learned), tuple(weights)))
    return examples, truncated


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


def make_batch(examples: Sequence[Example], *, pad_id: int, device: str) -> Batch:
    """The tensors of one step; the last token of an example is a target only, never read."""
    width = max(len(example.ids) for example in examples) - 1
    ids_BT = torch.full((len(examples), width), pad_id)
    rows_BT = torch.zeros((len(examples), width), dtype=torch.bool)
    targets: list[int] = []
    weights: list[float] = []
    for row, example in enumerate(examples):
        ids_BT[row, : len(example.ids) - 1] = torch.tensor(example.ids[:-1])
        rows_BT[row, [position - 1 for position in example.learned]] = True
        targets += [example.ids[position] for position in example.learned]
        weights += example.weights
    tokens = sum(len(example.ids) for example in examples)
    return Batch(
        ids_BT.to(device),
        rows_BT.to(device),
        torch.tensor(targets, device=device),
        torch.tensor(weights, device=device),
        tokens,
    )


def _weight(session: Session, position: int, action_weights: Mapping[ActionType, float]) -> float:
    event = session.events[position]
    return action_weights.get(event.action.type, 1.0) if isinstance(event, OperatorAction) else 1.0
