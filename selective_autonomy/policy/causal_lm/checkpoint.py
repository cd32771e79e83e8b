"""Training checkpoints: one file, replaced atomically, so a killed run finds either the old one or the new one."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from selective_autonomy.errors import ModelError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a run stands. `run`: digest of all that determines it; `step`: optimiser steps done."""

    run: str
    step: int
    tokens: int
    seconds: float
    losses: list[float]
    weights: dict[str, torch.Tensor]
    optimisers: list[dict[str, Any]]
    rng: torch.Tensor


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write the checkpoint beside `path`, flush it to the disk, then put it in place."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save({name: getattr(checkpoint, name) for name in Checkpoint.__slots__}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path, *, run: str) -> Checkpoint | None:
    """The checkpoint of this very run; None if there is none, or it belongs to another run (other data or parameters).

    Raises:
        ModelError: the file cannot be read.
    """
    if not path.exists():
        return None
    try:
        checkpoint = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, TypeError, EOFError, pickle.UnpicklingError) as err:
        raise ModelError(f"cannot read checkpoint {path}: {err}; delete it to train from the start") from err
    return checkpoint if checkpoint.run == run else None


def trained_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that training changes, by name (LoRA: the adapter only)."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def restore_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor], *, path: Path) -> None:
    """Put checkpointed parameters back.

    Raises:
        ModelError: the model has other parameters than the checkpoint.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    shapes = {name: p.shape for name, p in parameters.items()}
    if shapes != {name: weight.shape for name, weight in weights.items()}:
        raise ModelError(f"checkpoint {path} is of another model; delete it to train from the start")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
