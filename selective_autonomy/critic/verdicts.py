"""Verdicts on actions: tokens read as branches off a prefix that the policy has read, accept or reject at their end.

The prefix, a session's log, is read with the policy's own weights, so its keys and values are the policy's, from its
cache or from one pass. Only a branch, the operator marker and the action's few tokens, goes through weights of the
critic's own: the last layers, which begin as the policy's. All actions proposed in one session are branches of one
pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from selective_autonomy.errors import ModelError

_INITIAL_STD = 0.02  # of the two rows: a verdict begins undecided

Keys = list[tuple[torch.Tensor, torch.Tensor]]  # keys and values (1, heads, T, width) of each layer


@dataclass(frozen=True, slots=True)
class Branch:
    """`ids`: what is read after the first `cut` tokens of the prefix; the verdict is taken at the last of them."""

    cut: int
    ids: tuple[int, ...]


class Verdict:
    """The critic's part of the model: `own` weights by their names in the base model, `rows_2d` for accept and reject.

    The last layers and what follows them are its own; embeddings and the layers below stay the policy's.
    """

    def __init__(self, own: Mapping[str, torch.Tensor], rows_2d: torch.Tensor) -> None:
        self.own, self.rows_2d = dict(own), rows_2d

    @classmethod
    def begin(cls, lm: Any, layers: int, seed: int) -> Verdict:
        """As training begins: the policy's weights, and rows that say nothing yet.

        Raises:
            ModelError: the model has fewer layers.
        """
        own = {name: p.detach().clone() for name, p in own_weights(lm, layers)}
        width = lm.get_input_embeddings().weight.shape[1]
        rows = torch.randn((2, width), generator=torch.Generator().manual_seed(seed)) * _INITIAL_STD
        return cls(own, rows.to(lm.device))

    @property
    def parameters(self) -> list[torch.Tensor]:
        return [self.rows_2d, *self.own.values()]

    def log_odds(self, lm: Any, prefix: Keys, branches: Sequence[Branch]) -> torch.Tensor:
        """`raw_B`: accept's logit less reject's, so that its sigmoid is the softmax over the two tokens."""
        base = lm.base_model
        frozen = {name: p.detach() for name, p in base.named_parameters()}
        ids, positions, mask, last = _packed(branches, prefix, lm.device)
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(prefix):
            cache.update(keys, values, layer)
        inputs = {"input_ids": ids, "position_ids": positions, "attention_mask": mask, "past_key_values": cache}
        read = torch.func.functional_call(base, {**frozen, **self.own}, (), {**inputs, "use_cache": True})
        logits_B2 = read.last_hidden_state[0, last] @ self.rows_2d.T
        raw_B: torch.Tensor = logits_B2[:, 0] - logits_B2[:, 1]
        return raw_B


def own_weights(lm: Any, layers: int) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """The weights of the last `layers` layers of a base model and, with at least one, what follows them.

    Raises:
        ModelError: it has fewer layers.
    """
    base, depth = lm.base_model, lm.config.num_hidden_layers
    if layers > depth:
        raise ModelError(f"got layers {layers}, expected at most the policy's {depth}; lower it")
    stacks = [n for n, m in base.named_modules() if isinstance(m, torch.nn.ModuleList) and len(m) == depth]
    tables = {id(lm.get_input_embeddings().weight), id(lm.get_output_embeddings().weight)}
    positions = {id(p) for m in base.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()}
    own = tuple(f"{stacks[0]}.{depth - 1 - back}." for back in range(layers))
    for name, parameter in base.named_parameters():
        after = layers > 0 and not name.startswith(f"{stacks[0]}.") and id(parameter) not in tables | positions
        if name.startswith(own) or after:
            yield name, parameter


def base_digest(lm: Any) -> str:
    """sha256 of the last layer, which every training changes: a verdict goes on from these very weights."""
    digest = hashlib.sha256()
    for name, parameter in own_weights(lm, 1):
        digest.update(name.encode())
        digest.update(parameter.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _packed(
    branches: Sequence[Branch], prefix: Keys, device: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """`ids` (1, N) of all branches end to end, their positions, the mask (1, 1, N, T + N), the last place of each.

    A token sees its branch's part of the prefix, and its own branch up to itself.
    """
    length = prefix[0][0].shape[-2]
    counts = [len(branch.ids) for branch in branches]
    branch_N = np.repeat(np.arange(len(branches)), counts)
    offset_N = np.concatenate([np.arange(count) for count in counts])
    cut_N = np.repeat([branch.cut for branch in branches], counts)
    sees_prefix = np.arange(length)[None] < cut_N[:, None]
    sees_branch = (branch_N[:, None] == branch_N[None]) & (offset_N[None] <= offset_N[:, None])
    sees_NT = torch.from_numpy(np.concatenate([sees_prefix, sees_branch], axis=1))
    dtype = prefix[0][0].dtype
    mask = torch.zeros(sees_NT.shape, dtype=dtype).masked_fill(~sees_NT, torch.finfo(dtype).min)
    ids = torch.tensor([token for branch in branches for token in branch.ids])
    last = torch.from_numpy(np.cumsum(counts) - 1)
    positions = torch.from_numpy(cut_N + offset_N)
    return ids[None].to(device), positions[None].to(device), mask[None, None].to(device), last.to(device)
