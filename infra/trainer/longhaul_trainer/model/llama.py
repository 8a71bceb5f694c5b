"""Hugging Face's `LlamaForCausalLM` with this package's attention, and the forward pass that training uses."""

from __future__ import annotations

import contextlib
from typing import Literal

import torch
from transformers.cache_utils import Cache
from transformers.initialization import no_init_weights
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from longhaul_trainer.model import attention
from longhaul_trainer.model.attention import Backend, DocumentLayout

Precision = Literal["float32", "bfloat16"]


def build_model(
    config: LlamaConfig, device: torch.device | str = "cpu", *, initialize: bool = True
) -> LlamaForCausalLM:
    """A float32 model whose attention is this package's.

    `initialize`: weights are drawn from PyTorch's generator; else they hold anything until they are loaded.
    """
    attention.register()
    config._attn_implementation = attention.IMPLEMENTATION
    with torch.device(device), contextlib.nullcontext() if initialize else no_init_weights():
        model = LlamaForCausalLM(config)
    model.tie_weights()  # without initialization it has not been done
    return model


def hidden_states(
    model: LlamaForCausalLM,
    tokens: torch.Tensor,
    documents: DocumentLayout | None = None,
    *,
    cache: Cache | None = None,
    backend: Backend | None = None,
) -> torch.Tensor:
    """Normed states of the last layer, [B, T, D], for `tokens` [B, T], which follow what `cache` holds and are added to it.

    Positions run through the whole row and are not reset at documents: RoPE is relative, so it makes no difference
    to what a document sees of itself.
    """
    start = 0 if cache is None else cache.get_seq_length()
    positions = torch.arange(start, start + tokens.shape[1], device=tokens.device).unsqueeze(0)
    output = model.model(
        input_ids=tokens,
        position_ids=positions,
        past_key_values=cache,
        use_cache=cache is not None,
        documents=documents,
        attention_backend=backend,
    )
    states: torch.Tensor = output.last_hidden_state
    return states


def compute_type(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Autocast to bfloat16, or nothing. Weights, moments and the loss stay float32 either way."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
