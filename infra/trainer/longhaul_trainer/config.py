"""A Llama model's config.json, as `transformers` writes and reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

ROPE_TYPES = ("default", "llama3")
"""Kinds of RoPE that the model has: the plain one, and Llama 3.1's, which stretches the slow pairs of dimensions."""


@dataclass
class LlamaConfig:
    """The architecture of a Llama model, in the words of `transformers`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int = 0
    """0: as many as there are attention heads."""
    head_dim: int = 0
    """0: the hidden size divided among the heads."""
    max_position_embeddings: int = 2048
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    attention_bias: bool = False
    mlp_bias: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    pad_token_id: int | None = None
    rope_parameters: dict[str, Any] = field(default_factory=lambda: {"rope_type": "default", "rope_theta": 1e4})

    def __post_init__(self) -> None:
        """Raises ValueError for what this model can't be."""
        self.num_key_value_heads = self.num_key_value_heads or self.num_attention_heads
        self.head_dim = self.head_dim or self.hidden_size // self.num_attention_heads
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(f"{self.num_attention_heads} heads can't share {self.num_key_value_heads} key-value heads")
        if self.rope_parameters["rope_type"] not in ROPE_TYPES:
            raise ValueError(f"RoPE of type {self.rope_parameters['rope_type']!r}; known are {', '.join(ROPE_TYPES)}")

    @property
    def rope_theta(self) -> float:
        """The RoPE base."""
        return float(self.rope_parameters["rope_theta"])


_FIXED = {"model_type": "llama", "hidden_act": "silu", "attention_dropout": 0.0}


def read_config(data: bytes) -> LlamaConfig:
    """A config from the bytes of a config.json, written by transformers 5 (`rope_parameters`) or before (`rope_theta`).

    Raises ValueError for what is no config of a Llama model, or asks for what the model doesn't have.
    """
    values = json.loads(data)
    for key, wanted in _FIXED.items():
        if values.get(key, wanted) != wanted:
            raise ValueError(f"config.json: {key} is {values[key]!r}, it must be {wanted!r}")
    rope = {**(values.get("rope_scaling") or {}), **(values.get("rope_parameters") or {})}
    rope.setdefault("rope_type", rope.pop("type", "default"))
    rope.setdefault("rope_theta", values.get("rope_theta", 1e4))
    known = {entry.name for entry in fields(LlamaConfig)}
    # transformers writes null for what it works out by itself.
    given = {key: value for key, value in values.items() if key in known and value is not None}
    try:
        return LlamaConfig(**{**given, "rope_parameters": rope})
    except TypeError as error:
        raise ValueError(f"config.json: {error}") from None


def config_json(config: LlamaConfig) -> dict[str, Any]:
    """The config.json of a model: RoPE's base where transformers 5 looks for it and where older loaders do."""
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
        "hidden_act": "silu",
        "max_position_embeddings": config.max_position_embeddings,
        "initializer_range": config.initializer_range,
        "rms_norm_eps": config.rms_norm_eps,
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_bias": config.attention_bias,
        "attention_dropout": 0.0,
        "mlp_bias": config.mlp_bias,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_id,
        "pad_token_id": config.pad_token_id,
        "rope_theta": config.rope_theta,
        "rope_parameters": dict(config.rope_parameters),
        "torch_dtype": "float32",
        "use_cache": True,
    }


def json_bytes(value: dict[str, Any]) -> bytes:
    """JSON as model folders hold it: indented, with a newline at the end."""
    return (json.dumps(value, indent=2) + "\n").encode()
