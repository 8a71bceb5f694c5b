"""Asking a model many questions about one context: the context is read once, its keys and values serve every question.

Greedy decoding with a key-value cache, and the log-probability of the right answer from the same cache. Everything runs
under `torch.inference_mode`; logits are float32 whatever the compute type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F
from transformers.cache_utils import Cache, DynamicLayer
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from longhaul_trainer.model.llama import Precision, compute_type, hidden_states

PREFILL_TOKENS = 16_384
"""Tokens of a context read in one forward pass; bounds activations and the attention mask of a long context."""

CACHE_BYTES = 2 * 1024**3
"""Most bytes of keys and values that the questions of one batch may take."""


@dataclass(frozen=True)
class Question:
    """What is asked after a context: tokens of the question [Tq] and of the answer that would be right [Ta]."""

    tokens: tuple[int, ...]
    answer: tuple[int, ...]


@dataclass(frozen=True)
class Reply:
    """What a model made of a question.

    `output`: as many greedily chosen tokens as were asked for. `log_probability`: of the right answer, summed over its
    tokens, nats.
    """

    output: tuple[int, ...]
    log_probability: float


class BufferLayer(DynamicLayer):
    """One layer's keys and values [B, KV, room, D] in a buffer that is filled from the left and can be taken back.

    The stock `DynamicLayer` copies everything it holds for every token it gets.
    """

    keys: torch.Tensor
    values: torch.Tensor
    """Both are there from `lazy_initialization` on."""

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers'
        self.room = room
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocates for the batch and head sizes of the first states."""
        batch, heads, _, width = key_states.shape
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states.new_empty(batch, heads, self.room, width)
        self.values = value_states.new_empty(batch, heads, self.room, width)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends states [B, KV, T, D]; returns all so far, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[2]
        if end > self.room:
            raise ValueError(f"{end} tokens don't fit a cache of {self.room}")
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        """Tokens held."""
        return self.length

    def fork(self, batch: int, room: int) -> BufferLayer:
        """A copy of a one-row layer for `batch` rows, with room for `room` tokens more."""
        copy = BufferLayer(self.length + room)
        copy.lazy_initialization(
            self.keys[:, :, :1].expand(batch, -1, -1, -1), self.values[:, :, :1].expand(batch, -1, -1, -1)
        )
        copy.update(
            self.keys[:, :, : self.length].expand(batch, -1, -1, -1),
            self.values[:, :, : self.length].expand(batch, -1, -1, -1),
        )
        return copy


def _layers(cache: Cache) -> list[BufferLayer]:
    return [layer for layer in cache.layers if isinstance(layer, BufferLayer)]


def _rewind(cache: Cache, length: int) -> None:
    for layer in _layers(cache):
        layer.length = length


def _logits(model: LlamaForCausalLM, states: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model.lm_head(states).float()
    return logits


class Context:
    """A context that was read by a model, ready to be asked. Holds its keys and values."""

    def __init__(self, model: LlamaForCausalLM, tokens: Sequence[int], precision: Precision) -> None:
        """Reads `tokens`, at least one."""
        self._model, self._precision = model, precision
        self._device = model.lm_head.weight.device
        self._cache = Cache(layers=[BufferLayer(len(tokens)) for _ in range(model.config.num_hidden_layers)])
        row = torch.tensor([list(tokens)], device=self._device)
        with torch.inference_mode(), compute_type(precision, self._device):
            for start in range(0, len(tokens), PREFILL_TOKENS):
                hidden_states(model, row[:, start : start + PREFILL_TOKENS], cache=self._cache)

    def ask(self, questions: Sequence[Question], output_tokens: int) -> list[Reply]:
        """Asks every question on its own, each as if it alone followed the context.

        Questions of equal shape go through the model together, as many as `CACHE_BYTES` allows.
        """
        replies: dict[int, Reply] = {}
        shapes: dict[tuple[int, int], list[int]] = {}
        for index, question in enumerate(questions):
            shapes.setdefault((len(question.tokens), len(question.answer)), []).append(index)
        for (asked, answered), indices in shapes.items():
            room = asked + max(answered, output_tokens)
            size = self._batch(room)
            for start in range(0, len(indices), size):
                batch = indices[start : start + size]
                for index, reply in zip(
                    batch, self._ask([questions[i] for i in batch], output_tokens, room), strict=True
                ):
                    replies[index] = reply
        return [replies[index] for index in range(len(questions))]

    def _batch(self, room: int) -> int:
        layer = _layers(self._cache)[0]
        token_bytes = 2 * layer.keys[:, :, 0].numel() * layer.keys.element_size() * len(self._cache.layers)
        return max(1, CACHE_BYTES // (token_bytes * (layer.length + room)))

    def _ask(self, questions: Sequence[Question], output_tokens: int, room: int) -> list[Reply]:
        """One batch of questions of equal shape."""
        asked = torch.tensor([question.tokens for question in questions], device=self._device)
        answer = torch.tensor([question.answer for question in questions], device=self._device)
        with torch.inference_mode(), compute_type(self._precision, self._device):
            cache = Cache(layers=[layer.fork(len(questions), room) for layer in _layers(self._cache)])
            last = _logits(self._model, hidden_states(self._model, asked, cache=cache)[:, -1:])
            after = cache.get_seq_length()
            log_probability = self._answer_log_probability(answer, last, cache)
            _rewind(cache, after)
            output = self._decode(last, output_tokens, cache)
        return [Reply(tuple(row), total) for row, total in zip(output.tolist(), log_probability.tolist(), strict=True)]

    def _answer_log_probability(self, answer: torch.Tensor, last: torch.Tensor, cache: Cache) -> torch.Tensor:
        """Log-probabilities [B] of `answer` [B, Ta], given the logits [B, 1, V] after the question."""
        logits = last
        if answer.shape[1] > 1:
            logits = torch.cat(
                [last, _logits(self._model, hidden_states(self._model, answer[:, :-1], cache=cache))], dim=1
            )
        return F.log_softmax(logits, dim=-1).gather(2, answer.unsqueeze(2)).squeeze(2).sum(1)

    def _decode(self, last: torch.Tensor, count: int, cache: Cache) -> torch.Tensor:
        """The `count` likeliest next tokens, one after the other, [B, count]; of equal logits the first token."""
        chosen = [last.argmax(-1)]
        while len(chosen) < count:
            chosen.append(_logits(self._model, hidden_states(self._model, chosen[-1], cache=cache)).argmax(-1))
        return torch.cat(chosen, dim=1)


def token_losses(
    model: LlamaForCausalLM, tokens: torch.Tensor, precision: Precision, head_tokens: int = 2048
) -> torch.Tensor:
    """Cross-entropy, nats, of every token [B, T - 1] of `tokens` [B, T] given those before it in its row.

    The head runs over `head_tokens` positions at a time: all logits of a long row with a large vocabulary don't fit.
    """
    with torch.inference_mode(), compute_type(precision, tokens.device):
        states = hidden_states(model, tokens)[:, :-1]
        losses = [
            F.cross_entropy(
                _logits(model, states[:, start : start + head_tokens]).transpose(1, 2),
                tokens[:, start + 1 : start + 1 + head_tokens],
                reduction="none",
            )
            for start in range(0, states.shape[1], head_tokens)
        ]
        return torch.cat(losses, dim=1)
