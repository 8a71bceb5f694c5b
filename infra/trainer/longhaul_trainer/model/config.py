"""A Llama model's config.json, as any version of `transformers` writes and reads it."""

from __future__ import annotations

import json
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers.models.llama.configuration_llama import LlamaConfig


def read_config(data: bytes) -> LlamaConfig:
    """A config from the bytes of a config.json, written by transformers 5 (`rope_parameters`) or before (`rope_theta`).

    Raises ValueError for what is no config of a Llama model, and for dropout, which would make attempts differ.
    """
    values = json.loads(data)
    if not isinstance(values, dict):
        raise ValueError("config.json is no JSON object")
    for key, wanted in (("model_type", "llama"), ("attention_dropout", 0.0)):
        if values.get(key, wanted) != wanted:
            raise ValueError(f"config.json: {key} is {values[key]!r}, it must be {wanted!r}")
    try:
        config = LlamaConfig(**{key: value for key, value in values.items() if key != "architectures"})
    except (StrictDataclassError, TypeError) as error:
        raise ValueError(f"config.json: {error}") from None
    token_list(config.eos_token_id, config.vocab_size, "config.json")
    return config


def token_list(ids: object, vocabulary: int, name: str) -> list[int]:
    """`eos_token_id` as a list, whichever form it has in the file `name`: one id, several, or none.

    Raises ValueError for anything that is no token of a vocabulary of `vocabulary` tokens.
    """
    listed: list[int] = []
    for token in ids if isinstance(ids, list) else [] if ids is None else [ids]:
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < vocabulary:
            raise ValueError(f"{name}: eos_token_id has {token!r}, which is no token of the {vocabulary}")
        listed.append(token)
    return listed


def rope_parameters(config: LlamaConfig) -> dict[str, Any]:
    """What RoPE is made of, as `transformers` has completed it. Raises ValueError where it has not."""
    if config.rope_parameters is None:
        raise ValueError("config.json: no rope_parameters")
    return {**config.rope_parameters}


def rope_theta(config: LlamaConfig) -> float:
    """The RoPE base."""
    return float(rope_parameters(config)["rope_theta"])


def rope_scaling(config: LlamaConfig) -> dict[str, Any] | None:
    """How RoPE's frequencies are scaled, as loaders before transformers 5 read it; None: they aren't."""
    scaling = {key: value for key, value in rope_parameters(config).items() if key != "rope_theta"}
    return None if scaling.get("rope_type", "default") == "default" else scaling


def config_json(config: LlamaConfig, weight_type: str = "float32") -> dict[str, Any]:
    """The config.json of a model: RoPE's base and scaling where transformers 5 looks for them and where older loaders do.

    `weight_type`: the type its weights are saved in.
    """
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
        "rope_theta": rope_theta(config),
        "rope_scaling": rope_scaling(config),
        "rope_parameters": rope_parameters(config),
        "torch_dtype": weight_type,
        "use_cache": True,
    }


def json_bytes(value: dict[str, Any]) -> bytes:
    """JSON as model folders hold it: indented, with a newline at the end."""
    return (json.dumps(value, indent=2) + "\n").encode()
