"""A model's parameters by name: their digest, their bytes as safetensors, and how they are copied back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from longhaul_trainer.store.digests import WeightsDigest
from longhaul_trainer.store.transfers import Pieces

WEIGHTS = "weights.safetensors"
"""File of a checkpoint's weights."""

DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
"""Names of element types, in safetensors' words."""

Tensors = dict[str, torch.Tensor]


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
