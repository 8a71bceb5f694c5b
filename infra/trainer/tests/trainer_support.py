"""Small models and batches for the trainer's tests."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from longhaul_trainer.contracts import Optimizer
from longhaul_trainer.model.attention import document_layout
from longhaul_trainer.model.llama import build_model
from longhaul_trainer.train.step import MicroBatch, next_token_labels

OPTIMIZER = Optimizer(beta1=0.9, beta2=0.95, epsilon=1e-8, weight_decay=0.1, clip_norm=1.0)


def small_config(vocabulary: int = 64, length: int = 128, theta: float = 1e4, tied: bool = True) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=length,
        tie_word_embeddings=tied,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=1,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
    )


def small_model(vocabulary: int = 64, length: int = 128) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return build_model(small_config(vocabulary, length))


def batch(
    tokens: torch.Tensor, bounds: Sequence[Sequence[tuple[int, int]]], mask: torch.Tensor | None = None
) -> MicroBatch:
    layout = document_layout(bounds, tokens.shape[1])
    return MicroBatch(tokens, next_token_labels(tokens, layout, mask), layout)
