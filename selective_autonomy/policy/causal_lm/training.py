"""Fine-tune the policy: one pass per session, loss on what the operator did, resumable to the step."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from selective_autonomy.contract.contract import Contract
from selective_autonomy.contract.pieces import Marker, Text
from selective_autonomy.errors import ModelError, SplitError
from selective_autonomy.params import CausalLMParams
from selective_autonomy.policy.card import CARD, write_card
from selective_autonomy.policy.causal_lm.base import SCRATCH, logits_only_at, make_base, save_model
from selective_autonomy.policy.causal_lm.checkpoint import (
    Checkpoint,
    load_checkpoint,
    restore_weights,
    save_checkpoint,
    trained_weights,
)
from selective_autonomy.policy.causal_lm.examples import Batch, make_batch, make_examples, plan_epoch
from selective_autonomy.policy.causal_lm.loss import StepLoss
from selective_autonomy.policy.causal_lm.optimisers import Optimisers
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.policy.training import OnStep, TrainingProgress, TrainingReport
from selective_autonomy.policy.values.field_values import usual_values
from selective_autonomy.policy.values.habits import copy_habits
from selective_autonomy.process.schema import ProcessSchema, canonical_json, save_process
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import Choice

_CLIP_NORM = 1.0
_CHECKPOINT_STEPS = 100  # a minute or two of work on two cores; writing 70 MB takes a fraction of a second
_LAST_RATE = 0.05  # share of the learning rate at the end of the cosine


def train_causal_lm(
    train: Sequence[Session],
    schema: ProcessSchema,
    params: CausalLMParams,
    out: Path,
    *,
    choice: Choice | None = None,
    on_step: OnStep | None = None,
    resume: bool = True,
    device: str = "cpu",
) -> TrainingReport:
    """Train a policy on the train split and save it in `out`, ready for `CausalLMPolicy.load`.

    The same arguments give the same policy, also when a run was killed in between: it goes on from its last
    checkpoint in `out` unless `resume` is False. `policy.json` is written last; without it `out` is no policy.

    Args:
        choice: which steps of which sessions are learned, e.g. only those where an operator corrected a proposal; the
            others are context. None: all.

    Raises:
        SplitError: no train session holds an operator action that is to be learned.
        ModelError: the base cannot be used; the loss is not finite (the last good checkpoint stays in `out`).
    """
    torch.manual_seed(params.seed)
    contract = Contract(schema)
    model, tokenizer = make_base(params, contract, _texts(train, contract))
    encoder = Encoder(contract, tokenizer)
    examples, truncated = make_examples(
        train,
        Prompter(contract, encoder, context=params.context),
        context=params.context,
        choice=choice,
        action_weights=params.action_weights,
    )
    if not examples:
        raise SplitError(
            f"got {len(train)} train sessions with no operator action to learn from; expected at least one; "
            "check the import and the split shares"
        )
    lengths = [len(example.ids) for example in examples]
    plan = [
        batch
        for epoch in range(params.epochs)
        for batch in plan_epoch(lengths, batch_tokens=params.batch_tokens, seed=params.seed, epoch=epoch)
    ]
    out.mkdir(parents=True, exist_ok=True)
    head_ids = torch.tensor([encoder.marker_id(Marker(name)) for name in contract.heads], device=device)
    run = _Run(
        model.to(device),
        params,
        StepLoss(head_ids, smoothing=params.label_smoothing),
        out / "checkpoint.pt",
        _run_digest(train, contract, params, tokenizer, choice),
    )
    if resume:
        run.resume()
    resumed_at = run.step
    model.train()
    with denormals_flushed():
        for indices in plan[run.step :]:
            batch = make_batch([examples[i] for i in indices], pad_id=tokenizer.pad_token_id, device=device)
            loss = run.learn(batch, total=len(plan))
            if run.step % _CHECKPOINT_STEPS == 0:
                run.save()
            if on_step is not None:
                speed = run.tokens / run.seconds
                on_step(TrainingProgress(step=run.step, total=len(plan), loss=loss, tokens_per_second=speed))
    report = TrainingReport(
        sessions=len(train),
        truncated_sessions=truncated,
        examples=len(examples),
        learned_tokens=sum(len(example.learned) for example in examples),
        parameters=sum(p.numel() for p in model.parameters()),
        steps=run.step,
        tokens=run.tokens,
        seconds=run.seconds,
        losses=tuple(run.losses),
        resumed_at=resumed_at,
    )
    learnt = {"usual_values": usual_values(train, schema, choice), "copy_habits": copy_habits(train, schema, choice)}
    _save(model, tokenizer, contract, params, report, learnt, out)
    run.path.unlink(missing_ok=True)
    return report


def learning_rate(step: int, total: int, params: CausalLMParams) -> float:
    """The rate of a step (0-based): linear warm-up, then a cosine down to a twentieth."""
    warm = max(1, round(params.warmup * total))
    if step < warm:
        return params.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, total - warm)
    return params.learning_rate * (_LAST_RATE + (1 - _LAST_RATE) * (1 + math.cos(math.pi * done)) / 2)


class _Run:
    """A model in training and all that its next step depends on."""

    def __init__(self, model: Any, params: CausalLMParams, loss: StepLoss, path: Path, digest: str) -> None:
        self.model, self.params, self.loss, self.path, self.digest = model, params, loss, path, digest
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.losses: list[float] = []
        self._saved_step: int | None = None
        self._optimisers = Optimisers(
            model,
            learning_rate=params.learning_rate,
            weight_decay=params.weight_decay,
            from_scratch=params.base == SCRATCH,
        )

    def learn(self, batch: Batch, *, total: int) -> float:
        """One optimiser step; its loss in nats a learned token."""
        started = time.perf_counter()
        device = batch.ids.device.type
        with (
            logits_only_at(self.model, batch.rows),
            torch.autocast(device, dtype=torch.bfloat16, enabled=_bf16_is_native(device)),
        ):
            logits_NV = self.model(input_ids=batch.ids, use_cache=False).logits
        loss = self.loss(logits_NV.float(), batch.targets, batch.weights)
        self._check(loss, "loss")
        torch.autograd.backward(loss)
        self._check(torch.nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP_NORM), "gradient norm")
        self._optimisers.step(learning_rate=learning_rate(self.step, total, self.params))
        self.step += 1
        self.tokens += batch.tokens
        self.losses.append(loss.item())
        self.seconds += time.perf_counter() - started
        return self.losses[-1]

    def save(self) -> None:
        weights, state = trained_weights(self.model), self._optimisers.state()
        rng = torch.get_rng_state()
        save_checkpoint(
            Checkpoint(self.digest, self.step, self.tokens, self.seconds, self.losses, weights, state, rng), self.path
        )
        self._saved_step = self.step

    def resume(self) -> None:
        """Go on from the checkpoint of this run, if there is one."""
        found = load_checkpoint(self.path, run=self.digest)
        if found is None:
            return
        restore_weights(self.model, found.weights, path=self.path)
        self._optimisers.restore(found.optimisers)
        torch.set_rng_state(found.rng)
        self.step, self.tokens, self.seconds, self.losses = found.step, found.tokens, found.seconds, found.losses
        self._saved_step = found.step

    def _check(self, value: torch.Tensor, what: str) -> None:
        if torch.isfinite(value):
            return
        kept = "no checkpoint yet" if self._saved_step is None else f"checkpoint of step {self._saved_step} kept"
        raise ModelError(
            f"the {what} is {float(value)} at optimiser step {self.step + 1}, expected a finite number; {kept} in "
            f"{self.path.parent}; lower learning_rate, or look for a broken base model"
        )


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """As the loss nears 0, denormals cost a factor of 20 to 35. The mode is the whole process's, so it is put back."""
    before = sys.float_info.min / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _bf16_is_native(device: str) -> bool:
    """On a CPU without bf16 instructions autocast is slower than float32; with them 1.4 to 2 x faster (measured)."""
    return device == "cuda" or torch.cpu._is_avx512_bf16_supported()


def _texts(train: Sequence[Session], contract: Contract) -> list[str]:
    """Every text piece of the train sessions, as it will be tokenised."""
    return [
        str(piece)
        for session in train
        for segment in contract.render(session)
        for piece in segment.pieces
        if isinstance(piece, Text)
    ]


def _run_digest(
    train: Sequence[Session], contract: Contract, params: CausalLMParams, tokenizer: Any, choice: Choice | None
) -> str:
    """sha256 of all that determines a run: contract, parameters, vocabulary, chosen steps, and every session's log."""
    digest = hashlib.sha256(contract.fingerprint.encode())
    digest.update(canonical_json(params.model_dump(mode="json")).encode())
    digest.update(canonical_json(tokenizer.get_vocab()).encode())
    for session in train:
        digest.update(contract.prompt_text(session).encode())
        if choice is not None and session.session_id in choice:
            digest.update(canonical_json(sorted(choice[session.session_id])).encode())
    return digest.hexdigest()


def _save(
    model: Any,
    tokenizer: Any,
    contract: Contract,
    params: CausalLMParams,
    report: TrainingReport,
    learnt: Mapping[str, object],
    out: Path,
) -> None:
    (out / CARD).unlink(missing_ok=True)
    save_model(model, tokenizer, out)
    save_process(contract.schema, out / "process.yaml")
    for name, found in learnt.items():
        (out / f"{name}.json").write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
    write_card(
        out,
        params,
        contract.schema,
        contract_fingerprint=contract.fingerprint,
        training=report.model_dump(mode="json"),
    )
