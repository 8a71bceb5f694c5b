"""One attention function for `LlamaForCausalLM`, with a backend per device.

Documents of a packed row must not see each other, and nothing may build a T x T mask: at 512K tokens a boolean one
would take 256 GiB. So Hugging Face's own masks are switched off (an implementation without a registered mask
function gets none) and document bounds travel as a `DocumentLayout` through the model's keyword arguments.

Backends: `varlen` (CUDA flash attention over packed sequences), `documents` (CPU: causal SDPA, documents of similar
length in one call), `dense` (an explicit mask; the oracle that tests compare the others with).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch.nn import functional as F

IMPLEMENTATION = "longhaul"
Backend = Literal["documents", "varlen", "dense"]


@dataclass(frozen=True)
class DocumentGroup:
    """Documents that share one SDPA call.

    `gather` [N, L]: flat token index (row * T + position) of each place; places past a document's end repeat its first
    token, which is harmless because a causal query never sees what comes after it. `scatter` [tokens]: place in the
    flattened [N * L] output of every real token, in the order of `DocumentLayout.order`.
    """

    gather: torch.Tensor
    scatter: torch.Tensor


@dataclass(frozen=True)
class DocumentLayout:
    """Where documents lie in a micro-batch of `rows` x `length` tokens, prepared once and used by every layer.

    `spans`: half-open (row, start, end) in row order, covering every token. `whole`: each row is one document, so
    that attention is plainly causal. `restore` [rows * length]: where each token lies in the concatenated outputs of
    `groups`. `cumulative` [documents + 1] int32 and `longest` serve the varlen kernel.
    """

    rows: int
    length: int
    spans: tuple[tuple[int, int, int], ...]
    whole: bool
    groups: tuple[DocumentGroup, ...] = field(repr=False)
    restore: torch.Tensor = field(repr=False)
    cumulative: torch.Tensor = field(repr=False)
    longest: int = 0


def bucket(length: int) -> int:
    """The padded length a document of `length` tokens is computed at: 1, 1.5, 2, 3, 4, 6, ... times 32."""
    size = 32
    while True:
        for step in (size, size * 3 // 2):
            if length <= step:
                return step
        size *= 2


def document_layout(
    bounds: Sequence[Sequence[tuple[int, int]]], length: int, device: torch.device | str = "cpu"
) -> DocumentLayout:
    """Layout of rows of `length` tokens from each row's document bounds (half-open, ascending, covering the row).

    Raises ValueError when a row's bounds leave a gap, overlap or don't end at the row's end.
    """
    spans: list[tuple[int, int, int]] = []
    for row, documents in enumerate(bounds):
        position = 0
        for start, end in documents:
            if start != position or end <= start:
                raise ValueError(f"row {row}: document bounds {start}..{end} don't follow position {position}")
            spans.append((row, start, end))
            position = end
        if position != length:
            raise ValueError(f"row {row}: document bounds end at {position}, the row has {length} tokens")
    whole = all(start == 0 and end == length for _, start, end in spans)
    groups, restore = _groups(spans, length, len(bounds), device) if not whole else ((), torch.empty(0))
    lengths = torch.tensor([end - start for _, start, end in spans])
    cumulative = torch.zeros(len(spans) + 1, dtype=torch.int32)
    cumulative[1:] = lengths.cumsum(0)
    return DocumentLayout(
        rows=len(bounds),
        length=length,
        spans=tuple(spans),
        whole=whole,
        groups=groups,
        restore=restore,
        cumulative=cumulative.to(device),
        longest=int(lengths.max()),
    )


def _groups(
    spans: Sequence[tuple[int, int, int]], length: int, rows: int, device: torch.device | str
) -> tuple[tuple[DocumentGroup, ...], torch.Tensor]:
    by_size: dict[int, list[tuple[int, int]]] = {}
    for row, start, end in spans:
        by_size.setdefault(min(bucket(end - start), length), []).append((row * length + start, end - start))
    groups: list[DocumentGroup] = []
    restore = torch.empty(rows * length, dtype=torch.long)
    filled = 0
    for size, documents in sorted(by_size.items()):
        first = torch.tensor([flat for flat, _ in documents]).unsqueeze(1)
        count = torch.tensor([tokens for _, tokens in documents]).unsqueeze(1)
        places = torch.arange(size).unsqueeze(0)
        real = places < count
        gather = torch.where(real, first + places, first)
        scatter = real.flatten().nonzero().squeeze(1)
        restore[gather.flatten()[scatter]] = torch.arange(filled, filled + len(scatter))
        filled += len(scatter)
        groups.append(DocumentGroup(gather.to(device), scatter.to(device)))
    return tuple(groups), restore.to(device)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float,
    documents: DocumentLayout | None,
    backend: Backend,
) -> torch.Tensor:
    """Causal attention within documents.

    `query` [B, H, Tq, D]; `key`, `value` [B, KV, Tk, D] with H a multiple of KV. Without `documents` every row is one
    document, and Tk may exceed Tq (a cache): queries are the last Tq positions. Returns [B, Tq, H, D].
    """
    if documents is None or (documents.whole and backend != "varlen"):
        return _causal(query, key, value, scaling).transpose(1, 2)
    if backend == "dense":
        return _dense(query, key, value, scaling, documents).transpose(1, 2)
    if backend == "varlen":
        return _varlen(query, key, value, scaling, documents)
    return _per_document(query, key, value, scaling, documents)


def _expand(states: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, KV, T, D] -> [B, H, T, D]: each key/value head repeated for the query heads it serves."""
    return states if states.shape[1] == heads else states.repeat_interleave(heads // states.shape[1], dim=1)


def _causal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float) -> torch.Tensor:
    queries, keys = query.shape[2], key.shape[2]
    if queries != keys:
        return _cached(query, key, value, scaling)
    key, value = _expand(key, query.shape[1]), _expand(value, query.shape[1])
    return F.scaled_dot_product_attention(query, key, value, is_causal=queries > 1, scale=scaling)


def _cached(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float) -> torch.Tensor:
    """The last Tq positions against all Tk. A long cache is not copied for the query heads that share it."""
    rows, heads, queries, width = query.shape
    if queries == 1:
        shared = query.reshape(rows, key.shape[1], -1, width)
        return F.scaled_dot_product_attention(shared, key, value, scale=scaling).reshape(query.shape)
    mask = torch.ones(queries, key.shape[2], dtype=torch.bool, device=query.device).tril(key.shape[2] - queries)
    if query.device.type == "cpu":
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling, enable_gqa=True)
    key, value = _expand(key, heads), _expand(value, heads)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)


def _per_document(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, documents: DocumentLayout
) -> torch.Tensor:
    rows, heads, length, width = query.shape
    flat = [states.transpose(1, 2).reshape(rows * length, -1, width) for states in (query, key, value)]
    outputs: list[torch.Tensor] = []
    for group in documents.groups:
        count, size = group.gather.shape
        index = group.gather.flatten()
        q, k, v = (s.index_select(0, index).view(count, size, -1, width).transpose(1, 2) for s in flat)
        out = _causal(q, k, v, scaling).transpose(1, 2).reshape(count * size, heads, width)
        outputs.append(out.index_select(0, group.scatter))
    return torch.cat(outputs).index_select(0, documents.restore).view(rows, length, heads, width)


def _dense(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, documents: DocumentLayout
) -> torch.Tensor:
    mask = torch.zeros(documents.rows, 1, documents.length, documents.length, dtype=torch.bool, device=query.device)
    for row, start, end in documents.spans:
        mask[row, 0, start:end, start:end] = True
    heads = query.shape[1]
    return F.scaled_dot_product_attention(
        query, _expand(key, heads), _expand(value, heads), attn_mask=mask.tril(), scale=scaling
    )


def _varlen(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, documents: DocumentLayout
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn  # CUDA only; absent from older versions

    rows, heads, length, width = query.shape
    q, k, v = (
        states.transpose(1, 2).reshape(rows * length, heads, width)
        for states in (query, _expand(key, heads), _expand(value, heads))
    )
    out = varlen_attn(
        q,
        k,
        v,
        documents.cumulative,
        documents.cumulative,
        documents.longest,
        documents.longest,
        scale=scaling,
        window_size=(-1, 0),
    )
    if not isinstance(out, torch.Tensor):
        raise TypeError("varlen_attn returned more than the output, which is all it was asked for")
    return out.view(rows, length, heads, width)


def default_backend(device: torch.device) -> Backend:
    """The backend trainers use on a device."""
    return "varlen" if device.type == "cuda" else "documents"


def attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    documents: DocumentLayout | None = None,
    attention_backend: Backend | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The function `AttentionInterface` calls in every layer. Refuses masks and dropout, which would change results."""
    if attention_mask is not None or dropout != 0.0:
        raise ValueError("longhaul attention takes document bounds, neither masks nor dropout")
    backend = attention_backend or default_backend(query.device)
    return attend(query, key, value, scaling, documents, backend), None


def register() -> None:
    """Makes the implementation known to `transformers` under `IMPLEMENTATION`. No mask function: no mask is built."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, attention_forward)
