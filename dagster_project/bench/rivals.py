"""Two ways to train on the same sessions: one pass a session, or one sequence a step; measured against each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from selective_autonomy.policy.causal_lm.examples import Example, make_batch, plan_epoch
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.run import TrainingRun
from selective_autonomy.traces.schema import Session

_WARM_UPDATES = 20


@dataclass
class Rival:
    """A way to train. `steps`: operator steps that each example teaches; both rivals teach the same ones."""

    name: str
    run: TrainingRun
    examples: list[Example]
    steps: list[int]
    batch_tokens: int
    seed: int
    learned_steps: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    curve: list[tuple[float, float, float]] = field(default_factory=list)  # cpu s, wall s, held-out nats a token
    _batches: Iterator[list[int]] | None = None

    def update(self, learning_rate: float) -> None:
        """One optimiser step on the next batch; epochs follow one another. The rate warms up, then stays."""
        self._batches = self._batches or self._plan()
        batch = next(self._batches)
        wall, cpu = time.perf_counter(), time.process_time()
        self.run.learn(
            [self.examples[i] for i in batch], learning_rate=learning_rate * min(1, (self.run.step + 1) / _WARM_UPDATES)
        )
        self.cpu_seconds += time.process_time() - cpu
        self.wall_seconds += time.perf_counter() - wall
        self.learned_steps += sum(self.steps[i] for i in batch)

    @property
    def tokens_a_step(self) -> float:
        """Tokens that are read to learn one operator step."""
        return sum(len(example.ids) for example in self.examples) / sum(self.steps)

    @property
    def updates_an_epoch(self) -> int:
        return len(self._epoch(0))

    def _plan(self) -> Iterator[list[int]]:
        epoch = 0
        while True:
            yield from self._epoch(epoch)
            epoch += 1

    def _epoch(self, epoch: int) -> list[list[int]]:
        lengths = [len(example.ids) for example in self.examples]
        return plan_epoch(lengths, batch_tokens=self.batch_tokens, seed=self.seed, epoch=epoch)


def packed_examples(sessions: Sequence[Session], prompter: Prompter) -> tuple[list[Example], list[int]]:
    """What training uses: one example a window, all its steps learned in one pass; and how many steps each holds."""
    examples, steps = [], []
    for session in sessions:
        for window in prompter.encode(session).windows:
            spans = [range(p.start + 1, p.end) for p in window.prompts if p.teaches]
            if spans:
                learned = tuple(position for span in spans for position in span)
                examples.append(Example(window.ids[: learned[-1] + 1], learned, (1.0,) * len(learned)))
                steps.append(len(spans))
    return examples, steps


def per_step_examples(sessions: Sequence[Session], prompter: Prompter) -> tuple[list[Example], list[int]]:
    """The rival: each step a sequence of its own, the prompt that serving would show, and the action, learned."""
    examples = [
        Example(window.ids[: prompt.end], (span := tuple(range(prompt.start + 1, prompt.end))), (1.0,) * len(span))
        for session in sessions
        for window in prompter.encode(session).windows
        for prompt in window.prompts
        if prompt.teaches
    ]
    return examples, [1] * len(examples)


def held_out_loss(rival: Rival, examples: Sequence[Example], *, pad_id: int) -> float:
    """Nats a learned token on sessions that nobody trained on; float32."""
    model = rival.run.model.eval()
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(examples), 8):
            batch = make_batch(examples[start : start + 8], pad_id=pad_id, device=model.device)
            logits_NV, _ = model.read(batch.ids, logits_at_BT=batch.rows, states_at_BT=batch.head_rows, use_cache=False)
            total += float(torch.nn.functional.cross_entropy(logits_NV.float(), batch.targets, reduction="sum"))
            tokens += len(batch.targets)
    model.train()
    return total / tokens


def race(
    packed: Rival,
    per_step: Rival,
    *,
    held_out: Sequence[Example],
    learning_rate: float,
    epochs: int,
    most_times: float,
    on_update: Callable[[str], None],
) -> dict[str, float | bool | None]:
    """Train `packed` for its epochs, then ask when `per_step` has its held-out loss; both in turn, on one clock.

    They take turns of equal time, so that what else the machine does falls on both. `per_step` gives up at
    `most_times` the other's time: then the ratio is a lower limit, and `reached` False.
    """
    pad_id = packed.run._pad_id
    updates = epochs * packed.updates_an_epoch
    every = max(1, updates // 12)

    def look(rival: Rival) -> float:
        loss = held_out_loss(rival, held_out, pad_id=pad_id)
        rival.curve.append((rival.cpu_seconds, rival.wall_seconds, loss))
        on_update(f"{rival.name}: {rival.run.step} updates, {rival.wall_seconds:.0f} s, held-out {loss:.3f}")
        return loss

    for update in range(1, updates + 1):
        packed.update(learning_rate)
        while per_step.cpu_seconds < packed.cpu_seconds:
            per_step.update(learning_rate)
        if update % every == 0:
            look(packed)
            look(per_step)
    target = min(loss for *_, loss in packed.curve)
    # The time between two looks is the same for both, as near as an update allows.
    between = packed.cpu_seconds / (updates / every)
    while min(loss for *_, loss in per_step.curve) > target and per_step.cpu_seconds < most_times * packed.cpu_seconds:
        until = per_step.cpu_seconds + between
        while per_step.cpu_seconds < until:
            per_step.update(learning_rate)
        look(per_step)
    reached = min(loss for *_, loss in per_step.curve) <= target
    first = {r.name: next((p for p in r.curve if p[2] <= target), r.curve[-1]) for r in (packed, per_step)}
    return {
        "target_nats": target,
        "reached": reached,
        "time_to_equal_loss_cpu": first[per_step.name][0] / first[packed.name][0],
        "time_to_equal_loss_wall": first[per_step.name][1] / first[packed.name][1],
        "packed_seconds_cpu": first[packed.name][0],
        "per_step_seconds_cpu": first[per_step.name][0],
        "per_step_nats_at_equal_time": float(np.interp(packed.cpu_seconds, *_columns(per_step.curve))),
    }


def _columns(curve: Sequence[tuple[float, float, float]]) -> tuple[list[float], list[float]]:
    return [cpu for cpu, _, _ in curve], [loss for _, _, loss in curve]
