"""A trainer's state on disk: weights and Adam moments as safetensors (no pickle), counters as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from .digests import WeightsDigest
from .transfers import Pieces

WEIGHTS = "weights.safetensors"
MOMENTS = "moments.safetensors"
COUNTERS = "trainer.json"

DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
"""Names of element types, in safetensors' words."""

Tensors = dict[str, torch.Tensor]


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


def unique_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters by name, sorted; a tied parameter appears once, under its first name."""
    return dict(sorted(model.named_parameters()))


def weights_digest(parameters: Mapping[str, torch.Tensor]) -> str:
    """Digest of all parameters, as checkpoint manifests state it: what compares two runs."""
    digest = WeightsDigest()
    for name, tensor in parameters.items():
        values = tensor.detach().cpu().contiguous()
        digest.add(name, DTYPES[values.dtype], tuple(values.shape), values.view(torch.uint8).numpy().data)
    return digest.digest()


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


def tensor_file(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> Pieces:
    """The file that `safetensors.torch.save` makes of contiguous `tensors` on the CPU, byte for byte, in their memory.

    A checkpoint of many GB is copied once, when training stands still for it, and not a second time to be uploaded.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, dict[str, Any]] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        shape = list(tensors[name].shape)
        header[name] = {"dtype": DTYPES[tensors[name].dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    contents = (tensors[name].reshape(-1).view(torch.uint8).numpy().data for name in names)
    return Pieces([len(text).to_bytes(8, "little"), text, *contents])


def save_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, counters: Counters) -> None:
    """Writes the three files below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, moments = copy_tensors(model, optimizer)
    save_file(weights, folder / WEIGHTS)
    save_file(moments, folder / MOMENTS)
    (folder / COUNTERS).write_bytes(counters_bytes(counters))


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
