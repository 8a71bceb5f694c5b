"""A model's weights as safetensors: one file, or shards with an index, in the type that the recipe asks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import nn

from longhaul_trainer.model.parameters import read_weights, tensor_file, unique_parameters
from longhaul_trainer.store.transfers import Lazy, Pieces

WeightType = Literal["float32", "bfloat16"]
"""Element type of exported weights; master weights are float32."""

MODEL = "model.safetensors"
INDEX = "model.safetensors.index.json"

SHARD_BYTES = 5_000_000_000
"""Most bytes of one file of weights, as Hugging Face cuts them; a tensor that is larger has a file of its own."""

_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def weight_files(
    model: nn.Module, weight_type: WeightType = "float32", shard_bytes: int = SHARD_BYTES
) -> dict[str, Lazy]:
    """The weights' files by name. Each is made when it is asked for, so that memory holds one shard and not the model.

    Tied weights are written once (the embedding). Files are marked as PyTorch's, which older loaders demand.
    """
    element = _TYPES[weight_type]
    parameters = unique_parameters(model)
    shards = _shards({name: p.numel() * element.itemsize for name, p in parameters.items()}, shard_bytes)

    def contents(names: list[str]) -> Callable[[], Pieces]:
        return lambda: tensor_file(
            {name: parameters[name].detach().to("cpu", element).contiguous() for name in names}, {"format": "pt"}
        )

    if len(shards) == 1:
        return {MODEL: contents(shards[0])}
    named = {f"model-{at + 1:05d}-of-{len(shards):05d}.safetensors": names for at, names in enumerate(shards)}
    index = {
        "metadata": {"total_size": sum(p.numel() * element.itemsize for p in parameters.values())},
        "weight_map": {name: file for file, names in named.items() for name in names},
    }
    files: dict[str, Lazy] = {file: contents(names) for file, names in named.items()}
    files[INDEX] = (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()
    return files


def _shards(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Names in their order, cut where the next tensor would exceed `limit` bytes."""
    shards: list[list[str]] = [[]]
    taken = 0
    for name, size in sizes.items():
        if shards[-1] and taken + size > limit:
            shards.append([])
            taken = 0
        shards[-1].append(name)
        taken += size
    return shards


def weight_file_names(folder: Path, listed: Collection[str]) -> list[str]:
    """The files that hold a model's weights: model.safetensors, else what its index names.

    `listed`: the files of the folder that were verified; no other is ever read, whatever an index says. Raises ValueError
    where there are no weights, or the index is none or names anything else.
    """
    if MODEL in listed:
        return [MODEL]
    if INDEX not in listed:
        raise ValueError(f"there is no {MODEL} and no {INDEX}")
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(file, str) for file in places.values()):
        raise ValueError(f"{INDEX} has no weight_map from tensors to files")
    names = sorted(set(places.values()))
    others = [name for name in names if name not in listed or not name.endswith(".safetensors")]
    if others:
        raise ValueError(f"{INDEX} names files that are not among the model's own: {', '.join(map(repr, others[:5]))}")
    return names


def load_model_weights(folder: Path, listed: Collection[str], model: nn.Module) -> None:
    """Loads a folder's weights into `model`, from files in `listed` only.

    Raises ValueError as `weight_file_names` does and where two files have the same tensor, KeyError when names differ,
    RuntimeError when shapes do.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name in weight_file_names(folder, listed):
        loaded = load_file(folder / name)
        twice = sorted(loaded.keys() & tensors.keys())
        if twice:
            raise ValueError(f"{name} repeats {twice[0]}, which another file has")
        tensors.update(loaded)
    read_weights(tensors, model)
