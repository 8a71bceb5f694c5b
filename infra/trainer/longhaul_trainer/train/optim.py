"""AdamW with its parameter groups, and the learning rate as a pure function of tokens consumed."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from longhaul_trainer.contracts import Optimizer, Schedule


def learning_rate(schedule: Schedule, tokens: int) -> float:
    """Learning rate when `tokens` tokens are consumed: up from 0 in a line, then down to the floor, where it stays after the
    end. Which tokens count as consumed (`rate_at`) is for the caller to say."""
    if tokens < schedule.warmup_tokens:
        return schedule.peak * tokens / schedule.warmup_tokens
    span = schedule.total_tokens - schedule.warmup_tokens
    progress = 1.0 if span <= 0 else min(1.0, (tokens - schedule.warmup_tokens) / span)
    return schedule.floor + (schedule.peak - schedule.floor) * 0.5 * (1.0 + math.cos(math.pi * progress))


def adamw(named_parameters: Iterable[tuple[str, nn.Parameter]], settings: Optimizer) -> torch.optim.AdamW:
    """AdamW that decays matrices only: vectors (norms) are scales, not directions to shrink. `decay_norms`: norms too."""

    def decays(name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim > 1 or (settings.decay_norms is True and not name.endswith("bias"))

    trainable = [(name, p) for name, p in named_parameters if p.requires_grad]
    groups = [
        {"params": [p for name, p in trainable if decays(name, p)], "weight_decay": settings.weight_decay},
        {"params": [p for name, p in trainable if not decays(name, p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=0.0,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        foreach=False,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
