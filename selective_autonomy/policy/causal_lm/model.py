"""A language model and, where heads are scored by their schema, the scorer beside it: what is trained and served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from selective_autonomy.policy.causal_lm.scorer import HeadChoices, HeadScorer


class PolicyModel(torch.nn.Module):
    """`lm`: any Hugging Face causal LM. `scorer` None: a head is the likeliest legal marker, as the LM has it."""

    def __init__(self, lm: Any, scorer: HeadScorer | None = None) -> None:
        super().__init__()
        self.lm, self.scorer = lm, scorer
        if scorer is not None:
            scorer.attach(lm)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.lm.device
        return device

    def read(
        self, ids_BT: torch.Tensor, *, logits_at_BT: torch.Tensor, states_at_BT: torch.Tensor, **inputs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One forward pass: logits (N, V) and states (M, d) at the positions where the masks are True, row by row."""
        with _cut(self.lm, logits_at_BT, states_at_BT) as found:
            logits_NV = self.lm(input_ids=ids_BT, **inputs).logits
        return logits_NV, found[0]

    def head_scores(
        self, states_Nd: torch.Tensor, choices: HeadChoices, named_N: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Scores (N, K) of legal heads; see `HeadScorer`. Only with a scorer."""
        if self.scorer is None:
            raise AssertionError("this model scores heads by their markers")
        output, words = self.lm.get_output_embeddings().weight, self.lm.get_input_embeddings().weight
        scores: torch.Tensor = self.scorer(states_Nd, choices, output, words, named_N)
        return scores


@contextmanager
def _cut(lm: Any, logits_at_BT: torch.Tensor, states_at_BT: torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """Within: the output layer sees only the positions of `logits_at_BT`; its input at `states_at_BT` is kept.

    The output layer on every position is the largest cost of a small model with a large vocabulary. Cutting its
    input, not the model's output, works for every causal LM, with what it does to its logits afterwards.
    """
    found: list[torch.Tensor] = []

    def cut(_: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        found.append(inputs[0][states_at_BT])
        return (inputs[0][logits_at_BT],)

    handle = lm.get_output_embeddings().register_forward_pre_hook(cut)
    try:
        yield found
    finally:
        handle.remove()
