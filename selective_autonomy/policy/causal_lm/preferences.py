"""Preference optimisation on corrections: away from the rejected proposal, towards what the operator did (DPO, APO).

TRL's trainer is used as it is but for its tokenising: a pair is made of the contract's tokens already. Written out
and tokenised again, a customer text that looks like a marker would become one.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selective_autonomy.contract.contract import Contract
from selective_autonomy.errors import ModelError, SplitError
from selective_autonomy.params import CausalLMParams, PreferenceParams
from selective_autonomy.policy.card import CARD, read_card, write_card
from selective_autonomy.policy.causal_lm.base import load_model, save_model
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.policy.causal_lm.training import denormals_flushed
from selective_autonomy.policy.corrections import Correction
from selective_autonomy.policy.training import TrainingReport
from selective_autonomy.process.schema import load_process


@dataclass(frozen=True, slots=True)
class Pair:
    """Token ids: the prompt up to the operator marker, then what the operator did and what was rejected."""

    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]


def make_pairs(corrections: Iterable[Correction], prompter: Prompter, *, context: int) -> list[Pair]:
    """A pair for each correction, prompted as in training and serving; together at most `context` tokens.

    Left out: what the process does not know, and what the context's cuts make equal.
    """
    by_session: dict[str, list[Correction]] = {}
    for correction in corrections:
        by_session.setdefault(correction.session_id, []).append(correction)
    pairs: list[Pair] = []
    for found in by_session.values():
        rejected = {correction.step.position: correction.rejected for correction in found}
        for window in prompter.encode(found[0].step.session).windows:
            for prompt in window.prompts:
                if prompt.teaches and prompt.position in rejected:
                    start = prompt.start + 1
                    chosen_ids = window.ids[start : min(prompt.end, context)]
                    rejected_ids = prompter.encode_action(rejected[prompt.position])[: context - start]
                    if chosen_ids != rejected_ids:
                        pairs.append(Pair(window.ids[:start], chosen_ids, rejected_ids))
    return pairs


def optimise_preferences(
    policy: Path, corrections: Sequence[Correction], params: PreferenceParams, out: Path, *, device: str = "cpu"
) -> TrainingReport:
    """Train the causal LM policy in the folder `policy` on preference pairs; the result is a policy in `out`.

    The same arguments give the same policy. The policy that it starts from is the reference. `policy.json` is written
    last; without it `out` is no policy.

    Raises:
        ModelError: `policy` is no causal LM policy, or more than one model with a token a head; TRL is not installed;
            the loss is not finite.
        SplitError: there is no pair to learn from.
    """
    card = read_card(policy)
    if card["kind"] != "causal_lm":
        raise ModelError(
            f"{policy} holds a policy of kind {card['kind']!r}, expected 'causal_lm': others have no tokens"
        )
    trained = CausalLMParams.model_validate(card["params"])
    if trained.score_heads != "markers" or trained.members > 1:
        raise ModelError(
            f"{policy} scores heads by {trained.score_heads} with members {trained.members}; expected markers and one: "
            "preferences are learned token by token; train such a policy first"
        )
    contract = Contract(load_process(policy / "process.yaml"))
    contract.check_fingerprint(card["contract_fingerprint"], what=f"policy {policy}")
    model, tokenizer = load_model(policy, device=device)
    prompter = Prompter(contract, Encoder(contract, tokenizer), context=trained.context)
    pairs = make_pairs(corrections, prompter, context=trained.context)
    if not pairs:
        raise SplitError(
            f"got {len(corrections)} corrections and no pair to learn from; expected at least one; replay more sessions"
        )
    started = time.perf_counter()
    losses, tokens = _train(model, tokenizer, pairs, params)
    report = TrainingReport(
        sessions=len({correction.session_id for correction in corrections}),
        seconds=time.perf_counter() - started,
        parameters=sum(p.numel() for p in model.parameters()),
        examples=len(pairs),
        learned_tokens=sum(len(pair.chosen_ids) + len(pair.rejected_ids) for pair in pairs),
        steps=len(losses),
        tokens=tokens,
        losses=losses,
    )
    shutil.copytree(policy, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(CARD, "*.safetensors"))
    (out / CARD).unlink(missing_ok=True)
    save_model(model, tokenizer, out)
    write_card(
        out,
        trained,
        contract.schema,
        contract_fingerprint=contract.fingerprint,
        training=report.model_dump(mode="json"),
        preferences=params.model_dump(mode="json"),
    )
    return report


def _train(
    model: Any, tokenizer: Any, pairs: Sequence[Pair], params: PreferenceParams
) -> tuple[tuple[float, ...], int]:
    """Change the model in place; its losses and the tokens read."""
    try:
        from datasets import Dataset
        from transformers import PrinterCallback
        from trl import DPOConfig, DPOTrainer
    except ImportError as err:
        raise ModelError(
            f"preference optimisation needs the package trl ({err}); install selective-autonomy[preferences]"
        ) from err

    class PairTrainer(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    rows = [{**{name: list(ids) for name, ids in asdict(pair).items()}, "length": _length(pair)} for pair in pairs]
    with tempfile.TemporaryDirectory() as scrap:
        settings = DPOConfig(
            output_dir=scrap,
            loss_type=[params.loss],
            beta=params.beta,
            learning_rate=params.learning_rate,
            num_train_epochs=params.epochs,
            per_device_train_batch_size=params.batch_pairs,
            warmup_steps=0.1,
            lr_scheduler_type="cosine",
            max_length=None,  # pairs fit the context already; TRL would cut the action, not the oldest text
            train_sampling_strategy="group_by_length",  # with the prompts' lengths mixed, half of a batch is padding
            length_column_name="length",
            remove_unused_columns=False,
            seed=params.seed,
            use_cpu=model.device.type == "cpu",
            bf16=False,  # log-ratios of a pair are differences of 0.1 nats; bf16 moves each side by more
            gradient_checkpointing=False,
            save_strategy="no",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = PairTrainer(
            model=model,
            ref_model=copy.deepcopy(model).eval(),
            args=settings,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        with denormals_flushed():
            trainer.train()
    losses = tuple(float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry)
    if not all(loss == loss and abs(loss) != float("inf") for loss in losses):
        raise ModelError(f"a preference loss is not finite ({losses[-1]}); lower learning_rate or raise beta")
    return losses, sum(_length(pair) for pair in pairs) * params.epochs


def _length(pair: Pair) -> int:
    """Tokens of both halves; the prompt is read twice."""
    return 2 * len(pair.prompt_ids) + len(pair.chosen_ids) + len(pair.rejected_ids)
