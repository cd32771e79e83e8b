"""Training examples: one per session window, loss on operator actions only, batched by length.

A batch is padded on the right, where causal attention never looks from a real token: so no mask is
needed and attention stays on its fast path. Packing sessions end to end under a block mask was the
alternative; it loses that path, and sorting by length leaves under 5 % padding anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.scorer import HeadChoices, HeadScorer
from selective_autonomy.process.actions import ActionType
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.traces.schema import OperatorAction, Session
from selective_autonomy.traces.screen import Choice, derive_screen, is_chosen, steps

_LENGTH_JITTER = 0.1  # batches differ from epoch to epoch though they are cut from lengths in order


@dataclass(frozen=True, slots=True)
class HeadExample:
    """A step whose head is learned by score: it is chosen at position `at`, among `legal` (A,), `features` (A, F).

    `target`: the operator's, as its place in `legal`.
    """

    at: int
    target: int
    legal: NDArray[np.int64]
    features: NDArray[np.float32]
    weight: float


@dataclass(frozen=True, slots=True)
class Example:
    """One window: `ids` up to its last learned token; `learned`: positions whose token is to be predicted.

    `weights`: as long as `learned`; how much each of them counts in the loss. `heads`: the heads that are chosen by
    score; the tokens of these are not in `learned`.
    """

    ids: tuple[int, ...]
    learned: tuple[int, ...]
    weights: tuple[float, ...]
    heads: tuple[HeadExample, ...] = ()

    @property
    def weight(self) -> float:
        """What the example counts in its batch: steps where heads are scored, else tokens."""
        return sum(head.weight for head in self.heads) if self.heads else sum(self.weights)


@dataclass(frozen=True, slots=True)
class Batch:
    """`ids` (B, T) padded on the right; `rows` (B, T) True where a prediction is made; `targets` (N,) what comes there.

    `weights` (N,): how much each prediction counts. `tokens`: how many were read, padding not counted. `choices`: of
    the M steps whose head is scored, None where none is; their `head_rows` (B, T), `head_targets` and `head_weights`
    (M,).
    """

    ids: torch.Tensor
    rows: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    tokens: int
    head_rows: torch.Tensor
    choices: HeadChoices | None = None
    head_targets: torch.Tensor | None = None
    head_weights: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of some sessions.

    `truncated`: sessions that did not fit whole. Context only: `unknown`, actions that the process does not know, and,
    with a scorer, `illegal`, actions that the screen did not allow, so that there is nothing to choose them among.
    """

    examples: list[Example]
    truncated: int
    unknown: int
    illegal: int


def make_examples(
    sessions: Sequence[Session],
    prompter: Prompter,
    *,
    context: int,
    choice: Choice | None = None,
    action_weights: Mapping[ActionType, float] | None = None,
    scorer: HeadScorer | None = None,
    argument_weight: float = 1.0,
) -> Examples:
    """The examples of the train sessions.

    Only chosen steps are learned; the others are context. Windows without anything to learn are left out.
    `action_weights`: the weight of an action type's tokens, 1 where none is given. With a `scorer`, heads are learned
    by score, and the tokens of arguments count `argument_weight` times as much.
    """
    examples: list[Example] = []
    truncated = unknown = illegal = 0
    for session in sessions:
        encoded = prompter.encode(session)
        scored = _scored_heads(session, scorer) if scorer is not None else {}
        truncated += encoded.truncated
        if scorer is not None:
            illegal += sum(p.teaches and p.position not in scored for w in encoded.windows for p in w.prompts)
        for window in encoded.windows:
            unknown += sum(not prompt.teaches for prompt in window.prompts)
            learned: list[int] = []
            weights: list[float] = []
            heads: list[HeadExample] = []
            last = 0
            for prompt in window.prompts:
                if not (prompt.teaches and is_chosen(choice, session.session_id, prompt.position)) or (
                    scorer is not None and prompt.position not in scored
                ):
                    continue
                weight = _weight(session, prompt.position, action_weights or {})
                last = min(prompt.end, context)
                if scorer is not None:
                    legal, features, target = scored[prompt.position]
                    heads.append(HeadExample(prompt.start, target, legal, features, weight))
                    span = range(prompt.start + 2, last)
                    weight *= argument_weight
                else:
                    span = range(prompt.start + 1, last)
                learned += span
                weights += [weight] * len(span)
            if last:
                examples.append(Example(window.ids[:last], tuple(learned), tuple(weights), tuple(heads)))
    return Examples(examples, truncated, unknown, illegal)


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
    head_rows_BT = torch.zeros((len(examples), width), dtype=torch.bool)
    rows_BT = torch.zeros((len(examples), width), dtype=torch.bool)
    targets: list[int] = []
    weights: list[float] = []
    for row, example in enumerate(examples):
        ids_BT[row, : len(example.ids) - 1] = torch.tensor(example.ids[:-1])
        rows_BT[row, [position - 1 for position in example.learned]] = True
        head_rows_BT[row, [head.at for head in example.heads]] = True
        targets += [example.ids[position] for position in example.learned]
        weights += example.weights
    tokens = sum(len(example.ids) for example in examples)
    batch = Batch(
        ids_BT.to(device),
        rows_BT.to(device),
        torch.tensor(targets, dtype=torch.long, device=device),
        torch.tensor(weights, device=device),
        tokens,
        head_rows_BT.to(device),
    )
    heads = [head for example in examples for head in example.heads]
    if not heads:
        return batch
    return replace(
        batch,
        choices=HeadChoices.of([head.legal for head in heads], [head.features for head in heads], device),
        head_targets=torch.tensor([head.target for head in heads], device=device),
        head_weights=torch.tensor([head.weight for head in heads], device=device),
    )


def _scored_heads(
    session: Session, scorer: HeadScorer
) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float32], int]]:
    """Position of each step that can be learned -> its legal heads, their features, the operator's place in them."""
    every = list(steps(session))
    legal = [legal_heads(scorer.schema, derive_screen(step.before)) for step in every]
    features = scorer.features.steps(session, legal)
    found = {}
    for step, names, x_AF in zip(every, legal, features, strict=True):
        name = head_of(step.action)
        if name in names:
            found[step.position] = (scorer.indices(names), x_AF, names.index(name))
    return found


def _weight(session: Session, position: int, action_weights: Mapping[ActionType, float]) -> float:
    event = session.events[position]
    return action_weights.get(event.action.type, 1.0) if isinstance(event, OperatorAction) else 1.0
