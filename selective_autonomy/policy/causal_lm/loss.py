"""What a training step minimises: the weighted cross-entropy of what operators did."""

from __future__ import annotations

import torch


class StepLoss:
    """Nats a token, summed, each token by its weight.

    With `smoothing`, this share of a head's target is spread evenly over all heads: what another operator might have
    chosen. Arguments are not smoothed (a wrong digit is no matter of taste), nor are tokens that are no head.
    """

    def __init__(self, head_ids: torch.Tensor, *, smoothing: float = 0.0) -> None:
        self._head_ids, self._smoothing = head_ids, smoothing

    def __call__(self, logits_NV: torch.Tensor, targets_N: torch.Tensor, weights_N: torch.Tensor) -> torch.Tensor:
        """The loss of N predicted tokens; `weights_N` are positive."""
        loss_N = torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")
        if self._smoothing:
            is_head_N = torch.isin(targets_N, self._head_ids)
            log_p_NH = logits_NV[:, self._head_ids] - logits_NV.logsumexp(dim=-1, keepdim=True)
            smoothed_N = (1 - self._smoothing) * loss_N - self._smoothing * log_p_NH.mean(dim=-1)
            loss_N = torch.where(is_head_N, smoothed_N, loss_N)
        return (loss_N * weights_N).sum()


def choice_loss(
    scores_NK: torch.Tensor, targets_N: torch.Tensor, weights_N: torch.Tensor, *, smoothing: float = 0.0
) -> torch.Tensor:
    """Nats a step, summed, each step by its weight: cross-entropy among the legal heads.

    `scores_NK`: -inf where nothing is legal. `smoothing`: this share of the target is spread over the legal heads.
    """
    log_p_NK = scores_NK.log_softmax(dim=-1)
    loss_N = -log_p_NK.gather(1, targets_N[:, None]).squeeze(1)
    if smoothing:
        legal_NK = torch.isfinite(scores_NK)
        spread_N = -log_p_NK.masked_fill(~legal_NK, 0.0).sum(dim=-1) / legal_NK.sum(dim=-1)
        loss_N = (1 - smoothing) * loss_N + smoothing * spread_N
    return (loss_N * weights_N).sum()
