"""Llama, with this package's attention. Parameters have the names that `transformers` gives them, and states its bits.

`tests/test_model.py` holds it to `LlamaForCausalLM`. It is written out here because importing that class takes longer
than everything else a job does before its first step: it brings generation, distributed tensors and the compiler along.
"""

from __future__ import annotations

import contextlib
import math
from typing import Literal, Protocol

import torch
from torch import nn
from torch.nn import functional as F

from .attention import Backend, DocumentLayout, attend, default_backend
from .config import LlamaConfig

Precision = Literal["float32", "bfloat16"]
Rotation = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines [1, 1, T, D] of every position's angles."""


class LayerCache(Protocol):
    """Keys and values of one layer for the tokens read so far."""

    def update(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends states [B, KV, T, D]; returns all so far."""
        ...


class Linear(nn.Linear):
    """A linear map whose weights are left as memory has them: they are loaded or drawn afterwards."""

    def reset_parameters(self) -> None:
        """Nothing."""


class Embedding(nn.Embedding):
    """An embedding whose weights are left as memory has them: they are loaded or drawn afterwards."""

    def reset_parameters(self) -> None:
        """Nothing."""


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Normed states [..., D]."""
        kind = states.dtype
        states = states.float()
        states = states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return self.weight * states.to(kind)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        queries, keys = config.num_attention_heads * self.head_dim, config.num_key_value_heads * self.head_dim
        self.q_proj = Linear(config.hidden_size, queries, bias=config.attention_bias)
        self.k_proj = Linear(config.hidden_size, keys, bias=config.attention_bias)
        self.v_proj = Linear(config.hidden_size, keys, bias=config.attention_bias)
        self.o_proj = Linear(queries, config.hidden_size, bias=config.attention_bias)

    def forward(
        self,
        states: torch.Tensor,
        rotation: Rotation,
        documents: DocumentLayout | None,
        backend: Backend,
        cache: LayerCache | None,
    ) -> torch.Tensor:
        """What every position [B, T, D] takes from the others of its document, or from the cache too."""
        rows, length, _ = states.shape
        query, key, value = (
            projection(states).view(rows, length, -1, self.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotate(query, rotation), rotate(key, rotation)
        if cache is not None:
            key, value = cache.update(key, value)
        seen = attend(query, key, value, self.head_dim**-0.5, documents, backend)
        return self.o_proj(seen.reshape(rows, length, -1))


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[..., D] to [..., D]."""
        return self.down_proj(F.silu(self.gate_proj(states)) * self.up_proj(states))


class Layer(nn.Module):
    """Attention and MLP, each on normed states and added to them."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        states: torch.Tensor,
        rotation: Rotation,
        documents: DocumentLayout | None,
        backend: Backend,
        cache: LayerCache | None,
    ) -> torch.Tensor:
        """[B, T, D] to [B, T, D]."""
        states = states + self.self_attn(self.input_layernorm(states), rotation, documents, backend, cache)
        return states + self.mlp(self.post_attention_layernorm(states))


class Trunk(nn.Module):
    """Embedding, layers and the last norm."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Llama(nn.Module):
    """A causal language model. `lm_head` may share its weight with the embedding."""

    def __init__(self, config: LlamaConfig) -> None:
        """Weights are left as memory has them: see `build_model`."""
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(
        self,
        tokens: torch.Tensor,
        start: int = 0,
        documents: DocumentLayout | None = None,
        backend: Backend | None = None,
        caches: list[LayerCache] | None = None,
    ) -> torch.Tensor:
        """Normed states of the last layer, [B, T, D], for `tokens` [B, T], which stand at positions `start` and on.

        Positions run through the whole row and are not reset at documents: RoPE is relative, so it makes no difference
        to what a document sees of itself. `caches`: one per layer, which the tokens are appended to.
        """
        trunk = self.model
        states = trunk.embed_tokens(tokens)
        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        rotation = rotation_of(positions, self.config, states.dtype)
        backend = backend or default_backend(tokens.device)
        for index, layer in enumerate(trunk.layers):
            states = layer(states, rotation, documents, backend, caches[index] if caches is not None else None)
        return trunk.norm(states)


def build_model(config: LlamaConfig, device: torch.device | str = "cpu", *, initialize: bool = True) -> Llama:
    """A float32 model. `initialize`: weights drawn from PyTorch's generator; else they hold anything until loaded."""
    with torch.device(device):
        model = Llama(config)
    if config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    if initialize:
        draw_weights(model)
    return model


@torch.no_grad()
def draw_weights(model: Llama) -> None:
    """Matrices from a normal distribution of the config's width, norms 1, biases 0."""
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0.0, model.config.initializer_range)
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)


# --- positions --------------------------------------------------------------------------------------------------------


def frequencies(config: LlamaConfig, device: torch.device | str = "cpu") -> torch.Tensor:
    """Radians per token of every pair of dimensions [D / 2], float32."""
    width, rope = config.head_dim, config.rope_parameters
    plain = 1.0 / (config.rope_theta ** (torch.arange(0, width, 2, dtype=torch.float32, device=device) / width))
    if rope["rope_type"] == "default":
        return plain
    # Llama 3.1: slow pairs turn `factor` times slower, fast ones as before, and those between are blended.
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    context = rope["original_max_position_embeddings"]
    wavelength = 2 * math.pi / plain
    slowed = torch.where(wavelength > context / low, plain / factor, plain)
    share = (context / wavelength - low) / (high - low)
    blended = (1 - share) * slowed / factor + share * slowed
    between = (wavelength >= context / high) & (wavelength <= context / low)
    return torch.where(between, blended, slowed)


def rotation_of(positions: torch.Tensor, config: LlamaConfig, kind: torch.dtype) -> Rotation:
    """The rotation of every position [T]; angles in float32 whatever the states are."""
    angles = positions[None, None, :, None].float() * frequencies(config, positions.device)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos().to(kind), angles.sin().to(kind)


def rotate(states: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """States [B, H, T, D] turned by their positions; a pair is a dimension of the first half and one of the second."""
    cosines, sines = rotation
    first, second = states.chunk(2, dim=-1)
    return states * cosines + torch.cat((-second, first), dim=-1) * sines


def compute_type(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Autocast to bfloat16, or nothing. Weights, moments and the loss stay float32 either way."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
