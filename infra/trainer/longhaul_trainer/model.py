"""Hugging Face's `LlamaForCausalLM` with this package's attention, and the forward pass that training uses."""

from __future__ import annotations

import contextlib
from typing import Literal

import torch
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from . import attention
from .attention import Backend, DocumentLayout

Precision = Literal["float32", "bfloat16"]


def build_model(config: LlamaConfig, device: torch.device | str = "cpu") -> LlamaForCausalLM:
    """A float32 model with random weights drawn from PyTorch's generator, attention set to this package's."""
    attention.register()
    config._attn_implementation = attention.IMPLEMENTATION
    model = LlamaForCausalLM(config)
    model.config.use_cache = False
    return model.to(device)


def rope_theta(config: LlamaConfig) -> float:
    """The RoPE base of a config."""
    parameters = config.rope_parameters
    return float(parameters["rope_theta"])


def compute_type(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Autocast to bfloat16, or nothing. Weights, moments and the loss stay float32 either way."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def hidden_states(
    model: LlamaForCausalLM,
    tokens: torch.Tensor,
    documents: DocumentLayout | None,
    backend: Backend | None = None,
) -> torch.Tensor:
    """Normed states of the last layer, [B, T, D], for `tokens` [B, T].

    Positions run through the whole row and are not reset at documents: RoPE is relative, so it makes no difference
    to what a document sees of itself.
    """
    positions = torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0)
    output = model.model(
        input_ids=tokens,
        position_ids=positions,
        use_cache=False,
        documents=documents,
        attention_backend=backend,
    )
    return output.last_hidden_state
