"""Models as Hugging Face folders, in files that plain `transformers` loads without this package.

`python -m longhaul_trainer.model.export --state FOLDER --config config.json --tokenizer FOLDER --output FOLDER` exports a
trainer state: the files of any checkpoint, or the state of the base model's training.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from longhaul_trainer.model.config import config_json, json_bytes, read_config, token_list
from longhaul_trainer.model.llama import build_model
from longhaul_trainer.model.parameters import WEIGHTS, read_weights
from longhaul_trainer.model.tokenizer_files import GENERATION, end_of_text, read_object, token_ids, tokenizer_files
from longhaul_trainer.model.weights import SHARD_BYTES, WeightType, weight_files
from longhaul_trainer.store.transfers import Lazy, Pieces

CONFIG = "config.json"

STOPS = ("<|end_of_text|>", "<|eot_id|>")
"""What Llama-3's texts and turns end with; curation ends every document and every turn of an assistant so."""


def generation_config(config: LlamaConfig, tokenizer: Path) -> dict[str, Any]:
    """Greedy decoding that stops at whatever the base model stops at, at the end of a text, and of a turn.

    `tokenizer`: folder with the tokenizer's files, and with the base model's generation_config.json if it has one. Raises
    ValueError for a stop that is no token of the model.
    """
    base = read_object(tokenizer, GENERATION) if (tokenizer / GENERATION).exists() else {}
    named = [*STOPS, *([text] if (text := end_of_text(tokenizer)) is not None else [])]
    stops = {
        *token_list(base.get("eos_token_id"), config.vocab_size, GENERATION),
        *token_list(config.eos_token_id, config.vocab_size, CONFIG),
        *token_list(token_ids(tokenizer, named), config.vocab_size, "tokenizer.json"),
    }
    settings: dict[str, Any] = {"bos_token_id": config.bos_token_id, "eos_token_id": sorted(stops), "do_sample": False}
    return {key: value for key, value in settings.items() if value not in (None, [])}


def companion_files(config: LlamaConfig, tokenizer: Path, weight_type: WeightType = "float32") -> dict[str, bytes]:
    """Every file of a model folder but its weights and its manifest, by name. Raises ValueError for what is not usable."""
    return {
        **tokenizer_files(tokenizer, config.max_position_embeddings),
        CONFIG: json_bytes(config_json(config, weight_type)),
        GENERATION: json_bytes(generation_config(config, tokenizer)),
    }


def model_files(
    model: LlamaForCausalLM, tokenizer: Path, weight_type: WeightType = "float32", shard_bytes: int = SHARD_BYTES
) -> dict[str, Lazy]:
    """Every file of a model folder but its manifest, by name."""
    files = {**companion_files(model.config, tokenizer, weight_type), **weight_files(model, weight_type, shard_bytes)}
    return dict(sorted(files.items()))


def write_files(folder: Path, files: Mapping[str, Lazy]) -> None:
    """Writes a model folder to disk."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        contents = file() if callable(file) else file
        if isinstance(contents, Path):
            contents = contents.read_bytes()
        elif isinstance(contents, Pieces):
            contents = contents.read(0, contents.nbytes)
        (folder / name).write_bytes(contents)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m longhaul_trainer.model.export", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help=f"folder with {WEIGHTS}")
    parser.add_argument("--config", type=Path, required=True, help="config.json of the model")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with the tokenizer files")
    parser.add_argument("--weights", choices=("float32", "bfloat16"), default="float32", help="type to save as")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    model = build_model(read_config(arguments.config.read_bytes()))
    read_weights(load_file(arguments.state / WEIGHTS), model)
    write_files(arguments.output, model_files(model, arguments.tokenizer, arguments.weights))


if __name__ == "__main__":
    main()
