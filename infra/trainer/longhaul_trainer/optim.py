"""AdamW with its parameter groups, and the learning rate as a pure function of tokens consumed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.adamw import adamw


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW's settings as a recipe states them."""

    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    clip_norm: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up from 0 to `peak`, then a cosine down to `floor` at `total_tokens`."""

    peak: float
    floor: float
    warmup_tokens: int
    total_tokens: int


def learning_rate(schedule: Schedule, tokens: int) -> float:
    """Learning rate of the step that ends with `tokens` tokens consumed. Stays at the floor after the end."""
    if tokens < schedule.warmup_tokens:
        return schedule.peak * tokens / schedule.warmup_tokens
    span = schedule.total_tokens - schedule.warmup_tokens
    progress = 1.0 if span <= 0 else min(1.0, (tokens - schedule.warmup_tokens) / span)
    return schedule.floor + (schedule.peak - schedule.floor) * 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a weight decay."""

    parameters: list[nn.Parameter]
    weight_decay: float


class AdamW:
    """AdamW by PyTorch's own fused kernel. Matrices decay, vectors (norms) don't: they are scales, not directions.

    `torch.optim.AdamW` calls the same function on the same state; making one imports PyTorch's compiler, which takes as
    long as all else a job does between the import of PyTorch and its first step.
    """

    def __init__(self, named_parameters: Iterable[tuple[str, nn.Parameter]], settings: OptimizerSettings) -> None:
        """`state`: Adam's `step`, `exp_avg` and `exp_avg_sq` of every parameter that has been updated."""
        trainable = [parameter for _, parameter in named_parameters if parameter.requires_grad]
        self.settings = settings
        self.groups = [
            ParameterGroup([parameter for parameter in trainable if parameter.ndim > 1], settings.weight_decay),
            ParameterGroup([parameter for parameter in trainable if parameter.ndim <= 1], 0.0),
        ]
        self.state: dict[nn.Parameter, dict[str, torch.Tensor]] = {}

    def zero_grad(self) -> None:
        """Forgets every gradient."""
        for group in self.groups:
            for parameter in group.parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Updates every parameter that has a gradient, with learning rate `rate`."""
        for group in self.groups:
            updated = [parameter for parameter in group.parameters if parameter.grad is not None]
            states = [self._state_of(parameter) for parameter in updated]
            adamw(
                updated,
                [parameter.grad for parameter in updated if parameter.grad is not None],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=True,
                amsgrad=False,
                beta1=self.settings.beta1,
                beta2=self.settings.beta2,
                lr=rate,
                weight_decay=group.weight_decay,
                eps=self.settings.epsilon,
                maximize=False,
            )

    def _state_of(self, parameter: nn.Parameter) -> dict[str, torch.Tensor]:
        if parameter not in self.state:
            self.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return self.state[parameter]
