"""A trainer's state on disk: weights and Adam moments as safetensors (no pickle), counters as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

WEIGHTS = "weights.safetensors"
MOMENTS = "moments.safetensors"
COUNTERS = "trainer.json"


@dataclass(frozen=True)
class Counters:
    """Where training stands: optimizer steps done, tokens consumed, and the next row to read."""

    step: int
    tokens: int
    next_sample: int


def unique_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters by name, sorted; a tied parameter appears once, under its first name."""
    return dict(sorted(model.named_parameters()))


def weights_digest(parameters: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over name, shape and bytes of every parameter, sorted by name: what compares two runs."""
    total = hashlib.sha256()
    for name, tensor in sorted(parameters.items()):
        total.update(f"{name}\0{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return f"sha256:{total.hexdigest()}"


def save_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, counters: Counters) -> list[str]:
    """Writes the three files below `folder` and returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    parameters = unique_parameters(model)
    save_file({name: p.detach().cpu().contiguous() for name, p in parameters.items()}, folder / WEIGHTS)
    moments: dict[str, torch.Tensor] = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            moments[f"{name}/{key}"] = value.detach().cpu().contiguous()
    save_file(moments, folder / MOMENTS)
    (folder / COUNTERS).write_text(json.dumps(asdict(counters)) + "\n", encoding="utf-8")
    return [WEIGHTS, MOMENTS, COUNTERS]


def read_weights(tensors: Mapping[str, torch.Tensor], model: nn.Module) -> None:
    """Copies weights into the model, casting to its type. A head tied to the embedding may be there or not.

    Raises KeyError when names differ and RuntimeError when shapes do.
    """
    parameters = unique_parameters(model)
    extra = tensors.keys() - parameters.keys() - {"lm_head.weight"}
    missing = parameters.keys() - tensors.keys()
    if extra or missing:
        raise KeyError(f"weights don't fit the model: missing {sorted(missing)}, unknown {sorted(extra)}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            if parameter.shape != tensors[name].shape:
                raise RuntimeError(f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(parameter.shape)}")
            parameter.copy_(tensors[name])


def load_weights(folder: Path, model: nn.Module) -> None:
    """Loads a state's weights into the model."""
    read_weights(load_file(folder / WEIGHTS), model)


def load_moments(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Gives the optimizer the stored Adam moments and step counts. Raises KeyError when a moment is missing."""
    stored = load_file(folder / MOMENTS)
    for name, parameter in unique_parameters(model).items():
        optimizer.state[parameter] = {
            "step": stored[f"{name}/step"],
            "exp_avg": stored[f"{name}/exp_avg"].to(parameter.device),
            "exp_avg_sq": stored[f"{name}/exp_avg_sq"].to(parameter.device),
        }


def load_counters(folder: Path) -> Counters:
    """Reads the counters."""
    return Counters(**json.loads((folder / COUNTERS).read_text(encoding="utf-8")))
