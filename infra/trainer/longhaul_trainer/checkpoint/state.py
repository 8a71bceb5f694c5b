"""A trainer's state on disk: weights and Adam moments as safetensors (no pickle), counters as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from longhaul_trainer.model.parameters import WEIGHTS, Tensors, read_weights, unique_parameters

MOMENTS = "moments.safetensors"
COUNTERS = "trainer.json"


@dataclass(frozen=True)
class Counters:
    """Where training stands: optimizer steps done, tokens consumed, the next row to read, the loss of every step that
    was taken, the steps that were left out, and the tokens trained on in those that were taken."""

    step: int
    tokens: int
    next_sample: int
    losses: list[float] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    valid_tokens: int = 0


def copy_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Tensors, Tensors]:
    """Weights and moments by name, copied to memory of their own, so that training can go on while they are saved."""
    weights: Tensors = {}
    moments: Tensors = {}
    for name, parameter in unique_parameters(model).items():
        weights[name] = _copy(parameter)
        for key, value in optimizer.state.get(parameter, {}).items():
            moments[f"{name}/{key}"] = _copy(value)
    return weights, moments


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def save_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, counters: Counters) -> None:
    """Writes the three files below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, moments = copy_tensors(model, optimizer)
    save_file(weights, folder / WEIGHTS)
    save_file(moments, folder / MOMENTS)
    (folder / COUNTERS).write_bytes(counters_bytes(counters))


def load_weights(folder: Path, model: nn.Module) -> None:
    """Loads a state's weights into the model."""
    read_weights(load_file(folder / WEIGHTS), model)


def load_moments(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Gives the optimizer the stored Adam moments and step counts. Raises KeyError when a moment is missing."""
    stored = load_file(folder / MOMENTS)
    for name, parameter in unique_parameters(model).items():
        optimizer.state[parameter] = {
            "step": stored[f"{name}/step"].to(parameter.device, copy=True),
            "exp_avg": stored[f"{name}/exp_avg"].to(parameter.device, copy=True),
            "exp_avg_sq": stored[f"{name}/exp_avg_sq"].to(parameter.device, copy=True),
        }


def counters_bytes(counters: Counters) -> bytes:
    """The counters as JSON."""
    return (json.dumps(asdict(counters)) + "\n").encode()


def load_counters(folder: Path) -> Counters:
    """Reads the counters."""
    return Counters(**json.loads((folder / COUNTERS).read_bytes()))
