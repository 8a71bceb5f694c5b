"""A starting point from which a small model learns to recall in minutes.

To answer `"name":"` a model must find where `name` stood before and copy what came two tokens later. Gradient descent finds
that circuit late and suddenly (`docs/base-model.md` tells how late). Here it is laid out in the random weights before
training: two heads of the first layer look one and two tokens back, a head of the second layer attends where the token two
back is the query's token one back, and copies. Training sharpens it, and learns everything else, as from any start.

RoPE decides where content can be compared at all: a pair of dimensions that turns far within the sequence scrambles it.
So positions are matched in the pairs that turn fastest, and content in those that hardly turn.
"""

from __future__ import annotations

import torch
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaForCausalLM

from longhaul_trainer.model.config import rope_theta

OFFSET_PAIRS = 6
"""Pairs of dimensions, the fastest-turning ones, that tell one position from the next."""
OFFSET_SCALE = 9.0
"""How sharply the first layer's heads pick their position, in units of the logit."""
MATCH_SCALE = 3.0
"""How sharply the second layer's head picks the same token again."""
STILL_RADIANS_PER_TOKEN = 0.0033
"""A pair that turns no faster keeps its content comparable over 256 tokens."""


@torch.no_grad()
def lay_out(model: LlamaForCausalLM, seed: int) -> None:
    """Lays the recall circuit out in the first two layers of a freshly initialised model, in place."""
    config = model.config
    width, heads = config.hidden_size, config.num_attention_heads
    head = width // heads
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(width, width, generator=generator))
    constant, one_back = basis[:, 0], basis[:, 1 : 1 + head]
    two_back, own = basis[:, 1 + head : 1 + 2 * head], basis[:, 1 + 2 * head :]
    turns = rope_theta(config) ** (-torch.arange(0, head, 2).float() / head)

    _share_a_constant(model.model.embed_tokens.weight, constant)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight *= 0.3
    _look_back(model.model.layers[0].self_attn, constant, turns, heads // (config.num_key_value_heads or heads))
    reader = torch.linalg.qr(torch.randn(width, head, generator=generator))[0].T
    first = model.model.layers[0].self_attn
    first.v_proj.weight[:head] = reader - torch.outer(reader @ constant, constant)
    first.v_proj.weight[head:] *= 0.3
    first.o_proj.weight[:, :head] = one_back * 0.3
    first.o_proj.weight[:, head : 2 * head] = two_back * 0.3
    _match_and_copy(model.model.layers[1].self_attn, one_back, two_back, own, turns, generator)


def _share_a_constant(embedding: torch.Tensor, constant: torch.Tensor) -> None:
    """Gives every token's vector [V, D] the same length and the same part along `constant` [D], for heads that ask for
    positions only."""
    embedding -= torch.outer(embedding @ constant, constant)
    lengths = embedding.norm(dim=1, keepdim=True)
    embedding *= lengths.mean() / lengths
    embedding += constant * lengths.mean()


def _look_back(attention: LlamaAttention, constant: torch.Tensor, turns: torch.Tensor, shared: int) -> None:
    """Heads that look one and two tokens back, in turn. `turns` [D / 2]: radians per token of each pair of dimensions."""
    half = len(turns)
    head = 2 * half
    fast = (torch.arange(half) < OFFSET_PAIRS).float()
    scale = (OFFSET_SCALE * head**0.5) ** 0.5 / (len(constant) / 2) ** 0.5
    attention.q_proj.weight *= 0.02
    attention.k_proj.weight *= 0.02
    for start in range(0, attention.k_proj.weight.shape[0], head):
        key = torch.cat([fast, torch.zeros(half)])
        attention.k_proj.weight[start : start + head] += torch.outer(key * scale, constant)
    for index, start in enumerate(range(0, attention.q_proj.weight.shape[0], head)):
        phase = -(1 + index % shared) * turns
        query = torch.cat([torch.cos(phase) * fast, torch.sin(phase) * fast])
        attention.q_proj.weight[start : start + head] += torch.outer(query * scale, constant)


def _match_and_copy(
    attention: LlamaAttention,
    one_back: torch.Tensor,
    two_back: torch.Tensor,
    own: torch.Tensor,
    turns: torch.Tensor,
    generator: torch.Generator,
) -> None:
    """The first head compares the token one back (query) with the token two back (key), and copies the token there."""
    half = len(turns)
    head = 2 * half
    still = [pair for pair in range(half) if turns[pair] < STILL_RADIANS_PER_TOKEN]
    rows = still + [pair + half for pair in still]
    compare = torch.randn(len(rows), head, generator=generator) / head**0.5 * MATCH_SCALE
    copy = torch.randn(head, own.shape[1], generator=generator) / own.shape[1] ** 0.5 @ own.T
    attention.q_proj.weight[:head] = 0
    attention.k_proj.weight[:head] = 0
    attention.q_proj.weight[rows] = compare @ one_back.T
    attention.k_proj.weight[rows] = compare @ two_back.T
    attention.v_proj.weight[:head] = copy
    attention.o_proj.weight[:, :head] = copy.T
