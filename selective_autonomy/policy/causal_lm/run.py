"""One training run: a model, its optimisers, and all that the next step depends on; saved and resumed as a whole."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from selective_autonomy.errors import ModelError
from selective_autonomy.params import CausalLMParams
from selective_autonomy.policy.causal_lm.base import SCRATCH
from selective_autonomy.policy.causal_lm.checkpoint import (
    Checkpoint,
    load_checkpoint,
    restore_weights,
    save_checkpoint,
    trained_weights,
)
from selective_autonomy.policy.causal_lm.examples import Example, make_batch
from selective_autonomy.policy.causal_lm.loss import StepLoss, choice_loss
from selective_autonomy.policy.causal_lm.model import PolicyModel
from selective_autonomy.policy.causal_lm.optimisers import Optimisers
from selective_autonomy.policy.causal_lm.team import Alone, Team, shares

_CLIP_NORM = 1.0


class TrainingRun:
    """A model in training. `tokens` and `losses` are those of the whole team.

    Args:
        model: on its device, in training mode.
        loss: what is minimised, summed over a batch.
        pad_id: what fills a batch on the right.
        path: its checkpoint. `digest`: what determines the run; a checkpoint of another digest is never continued.
        team: who trains with this process. Only rank 0 writes.
    """

    def __init__(
        self,
        model: PolicyModel,
        params: CausalLMParams,
        loss: StepLoss,
        *,
        pad_id: int,
        path: Path,
        digest: str,
        team: Team | None = None,
    ) -> None:
        self.model, self.path, self.digest, self.team = model, path, digest, team or Alone()
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.losses: list[float] = []
        self._pad_id, self._loss = pad_id, loss
        self._smoothing = params.label_smoothing
        self._saved_step: int | None = None
        self._trained = [p for p in model.parameters() if p.requires_grad]
        self._optimisers = Optimisers(
            model,
            learning_rate=params.learning_rate,
            weight_decay=params.weight_decay,
            from_scratch=params.base == SCRATCH,
        )

    def learn(self, examples: Sequence[Example], *, learning_rate: float) -> float:
        """One optimiser step on the team's whole batch; its loss in nats a learned token.

        Each process reads its share. Losses are summed and divided by the weight of the whole batch, which
        every process knows: a mean of means would weigh a token by the share it fell into.

        Raises:
            ModelError: the loss or the gradient is not finite; on all processes alike.
        """
        started = time.perf_counter()
        share = shares(examples, self.team.size)[self.team.rank]
        weight = sum(example.weight for example in examples)
        loss = self._backward(share, weight) if share else torch.zeros((), device=self.model.device)
        if self.team.size > 1:
            for parameter in self._trained:
                if parameter.grad is None:  # a batch of fewer examples than processes
                    parameter.grad = torch.zeros_like(parameter)
            self.team.add_up([loss, *(p.grad for p in self._trained if p.grad is not None)])
        self._check(loss, "loss")
        self._check(torch.nn.utils.clip_grad_norm_(self._trained, _CLIP_NORM), "gradient norm")
        self._optimisers.step(learning_rate=learning_rate)
        self.step += 1
        self.tokens += sum(len(example.ids) for example in examples)
        self.losses.append(loss.item())
        self.seconds += time.perf_counter() - started
        return self.losses[-1]

    def save(self) -> None:
        """Write the checkpoint: rank 0 does, and it is the same on all."""
        self._saved_step = self.step
        if self.team.rank != 0:
            return
        weights, state = trained_weights(self.model), self._optimisers.state()
        rng = torch.get_rng_state()
        save_checkpoint(
            Checkpoint(self.digest, self.step, self.tokens, self.seconds, self.losses, weights, state, rng), self.path
        )

    def resume(self) -> None:
        """Go on from the checkpoint of this run, if there is one.

        Raises:
            ModelError: it cannot be read, or not all processes of the team found the same one.
        """
        found = load_checkpoint(self.path, run=self.digest)
        self.team.check_same("checkpoints", "none" if found is None else f"step {found.step}")
        if found is None:
            return
        restore_weights(self.model, found.weights, path=self.path)
        self._optimisers.restore(found.optimisers)
        torch.set_rng_state(found.rng)
        self.step, self.tokens, self.seconds, self.losses = found.step, found.tokens, found.seconds, found.losses
        self._saved_step = found.step

    def check_team(self) -> None:
        """Raise unless every process of the team holds the same weights.

        Raises:
            ModelError: they went apart.
        """
        if self.team.size == 1:
            return
        digest = hashlib.sha256()
        for parameter in self._trained:
            digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
        self.team.check_same("weights", digest.hexdigest())

    def _backward(self, examples: Sequence[Example], weight: float) -> torch.Tensor:
        """Add the gradient of the examples' part in the mean over a batch of this weight; returns that part."""
        device = self.model.device.type
        batch = make_batch(examples, pad_id=self._pad_id, device=self.model.device)
        if self.model.scorer is not None:
            self.model.scorer.draw_names()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=_bf16_is_native(device)):
            logits_NV, states_Md = self.model.read(
                batch.ids, logits_at_BT=batch.rows, states_at_BT=batch.head_rows, use_cache=False
            )
            scores_MK = self.model.head_scores(states_Md, batch.choices) if batch.choices is not None else None
        loss = self._loss(logits_NV.float(), batch.targets, batch.weights)
        if scores_MK is not None and batch.head_targets is not None and batch.head_weights is not None:
            loss = loss + choice_loss(
                scores_MK.float(), batch.head_targets, batch.head_weights, smoothing=self._smoothing
            )
        loss = loss / weight
        if torch.isfinite(loss):
            torch.autograd.backward(loss)
        return loss.detach()

    def _check(self, value: torch.Tensor, what: str) -> None:
        if torch.isfinite(value):
            return
        kept = "no checkpoint yet" if self._saved_step is None else f"checkpoint of step {self._saved_step} kept"
        raise ModelError(
            f"the {what} is {float(value)} at optimiser step {self.step + 1}, expected a finite number; {kept} in "
            f"{self.path.parent}; lower learning_rate, or look for a broken base model"
        )


def _bf16_is_native(device: str) -> bool:
    """On a CPU without bf16 instructions autocast is slower than float32; with them 1.4 to 2 x faster (measured)."""
    return device == "cuda" or torch.cpu._is_avx512_bf16_supported()
