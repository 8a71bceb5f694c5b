"""Output head and cross-entropy in chunks, so that logits of more than a chunk never exist."""

from __future__ import annotations

from typing import Any

import torch

IGNORE = -100
"""Label of a position that has no loss."""

CHUNK_BYTES = 64 * 1024 * 1024
"""Most that one chunk of float32 logits may take, bytes."""


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies of `hidden` [N, D] against `labels` [N] under the head `weight` [V, D].

    The gradients are made beside the loss while a chunk's logits are at hand, so nothing is computed twice.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, chunk: int) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        head = weight.to(hidden.dtype)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        for start in range(0, hidden.shape[0], chunk):
            states, target = hidden[start : start + chunk], labels[start : start + chunk]
            logits = (states @ head.T).float()
            log_normalizer = torch.logsumexp(logits, dim=-1, keepdim=True)
            total += (log_normalizer - logits.gather(1, target.unsqueeze(1))).sum()
            grad = logits.sub_(log_normalizer).exp_()
            grad.scatter_add_(1, target.unsqueeze(1), grad.new_full((len(target), 1), -1.0))
            grad = grad.to(hidden.dtype)
            grad_hidden[start : start + chunk] = grad @ head
            grad_weight += grad.T @ states
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        (scale,) = gradients
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * scale.to(grad_hidden.dtype), grad_weight * scale, None, None


def cross_entropy_sum(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum of cross-entropies in nats over the positions whose label isn't `IGNORE`; float32 scalar.

    `hidden` [..., D] are the last layer's normed states, `weight` [V, D] the head, `labels` [...] the token each
    position should predict (already shifted). Positions without a label don't reach the head.
    """
    flat, target = hidden.reshape(-1, hidden.shape[-1]), labels.reshape(-1)
    valid = (target != IGNORE).nonzero().squeeze(1)
    if len(valid) < len(target):
        flat, target = flat.index_select(0, valid), target.index_select(0, valid)
    chunk = max(1, CHUNK_BYTES // (4 * weight.shape[0]))
    total: torch.Tensor = _ChunkedCrossEntropy.apply(flat, weight, target, chunk)
    return total
