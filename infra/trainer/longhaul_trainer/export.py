"""Models as Hugging Face folders, in files that plain `transformers` loads without this package.

`python -m longhaul_trainer.export --state FOLDER --config config.json --tokenizer FOLDER --output FOLDER` exports a
trainer state: the files of any checkpoint, or the state of the base model's training.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from .config import config_json, json_bytes, read_config
from .model import build_model
from .state import WEIGHTS, read_weights, unique_parameters

CONFIG = "config.json"
MODEL = "model.safetensors"
GENERATION = "generation_config.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def generation_config(config: LlamaConfig, end_of_turn: int) -> dict[str, Any]:
    """Greedy decoding that stops at the end of a text or of a turn."""
    return {
        "bos_token_id": config.bos_token_id,
        "eos_token_id": [config.eos_token_id, end_of_turn],
        "do_sample": False,
    }


def weights_bytes(model: LlamaForCausalLM) -> bytes:
    """model.safetensors: float32, tied weights once (the embedding), marked as PyTorch's."""
    tensors = {name: p.detach().cpu().contiguous() for name, p in unique_parameters(model).items()}
    return save(tensors, metadata={"format": "pt"})


def end_of_turn_id(tokenizer_folder: Path) -> int:
    """Id of `<|eot_id|>`. Raises ValueError when the tokenizer has none."""
    data = json.loads((tokenizer_folder / "tokenizer.json").read_text(encoding="utf-8"))
    for token in data["added_tokens"]:
        if token["content"] == "<|eot_id|>":
            return int(token["id"])
    raise ValueError(f"{tokenizer_folder}: tokenizer.json has no <|eot_id|>")


def model_files(model: LlamaForCausalLM, tokenizer_folder: Path) -> dict[str, bytes]:
    """Every file of a model folder but its manifest, by name."""
    files = {name: (tokenizer_folder / name).read_bytes() for name in TOKENIZER_FILES}
    files[CONFIG] = json_bytes(config_json(model.config))
    files[MODEL] = weights_bytes(model)
    files[GENERATION] = json_bytes(generation_config(model.config, end_of_turn_id(tokenizer_folder)))
    return dict(sorted(files.items()))


def load_model_folder(folder: Path, model: LlamaForCausalLM) -> None:
    """Loads model.safetensors (or its shards, by their index) into `model`. Raises KeyError when names differ."""
    index = folder / "model.safetensors.index.json"
    names = [MODEL]
    if index.exists():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    tensors = {}
    for name in names:
        tensors.update(load_file(folder / name))
    read_weights(tensors, model)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m longhaul_trainer.export", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help=f"folder with {WEIGHTS}")
    parser.add_argument("--config", type=Path, required=True, help="config.json of the model")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with the tokenizer files")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    model = build_model(read_config(arguments.config.read_bytes()))
    read_weights(load_file(arguments.state / WEIGHTS), model)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, data in model_files(model, arguments.tokenizer).items():
        (arguments.output / name).write_bytes(data)


if __name__ == "__main__":
    main()
