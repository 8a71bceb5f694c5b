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

from .model import build_model
from .state import WEIGHTS, read_weights, unique_parameters

CONFIG = "config.json"
MODEL = "model.safetensors"
GENERATION = "generation_config.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def read_config(data: bytes) -> LlamaConfig:
    """A config from the bytes of a config.json, written by transformers 5 (`rope_parameters`) or before (`rope_theta`)."""
    return LlamaConfig(**{key: value for key, value in json.loads(data).items() if key != "architectures"})


def config_json(config: LlamaConfig) -> dict[str, Any]:
    """The config.json of a model: RoPE's base where transformers 5 looks for it and where older loaders do."""
    parameters = config.rope_parameters
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "hidden_act": config.hidden_act,
        "max_position_embeddings": config.max_position_embeddings,
        "initializer_range": config.initializer_range,
        "rms_norm_eps": config.rms_norm_eps,
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_bias": config.attention_bias,
        "attention_dropout": config.attention_dropout,
        "mlp_bias": config.mlp_bias,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_id,
        "pad_token_id": config.pad_token_id,
        "rope_theta": parameters["rope_theta"],
        "rope_parameters": dict(parameters),
        "torch_dtype": "float32",
        "use_cache": True,
    }


def json_bytes(value: dict[str, Any]) -> bytes:
    """JSON as these folders hold it: indented, with a newline at the end."""
    return (json.dumps(value, indent=2) + "\n").encode()


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
