"""One optimizer step: micro-batches, loss over valid tokens, clipping, AdamW. Shared by every kind of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from longhaul_trainer.contracts import Numerics
from longhaul_trainer.errors import DataFailure, NumericsFailure
from longhaul_trainer.model.attention import DocumentLayout
from longhaul_trainer.model.llama import Precision, compute_type, hidden_states
from longhaul_trainer.model.loss import IGNORE, cross_entropy_sum
from longhaul_trainer.train.optim import set_learning_rate


class StepInterrupted(Exception):
    """A stop was asked for between micro-batches; the accumulation was discarded and weights are untouched."""


@dataclass(frozen=True)
class MicroBatch:
    """`tokens` [B, T] int64, `labels` [B, T] int64 (next token, or `IGNORE`), and where documents lie."""

    tokens: torch.Tensor
    labels: torch.Tensor
    documents: DocumentLayout | None


@dataclass(frozen=True)
class StepResult:
    """The loss that was minimised, in nats; the number of valid tokens; and the gradient's norm before clipping."""

    loss: float
    valid_tokens: int
    gradient_norm: float


@dataclass(frozen=True)
class LossMean:
    """What a step's loss is the mean of.

    - ``tokens``: its valid tokens
    - ``rows``: its rows that have valid tokens, of each row's mean
    - ``running-average``: its valid tokens, as if it had as many per row as all steps so far, itself included, have on
      average; `valid_tokens` and `rows` are those of the steps before it
    """

    kind: Literal["tokens", "rows", "running-average"] = "tokens"
    valid_tokens: int = 0
    rows: int = 0

    def divisors(self, micro_batches: Sequence[MicroBatch]) -> list[list[tuple[slice, float]]]:
        """Per micro-batch, ranges of rows, and what the sum of their tokens' losses is divided by."""
        counts = [(batch.labels != IGNORE).sum(dim=1).tolist() for batch in micro_batches]
        valid, rows = sum(map(sum, counts)), sum(map(len, counts))
        match self.kind:
            case "tokens":
                return [[(slice(None), valid)] for _ in counts]
            case "running-average":
                per_row = (self.valid_tokens + valid) / (self.rows + rows)
                return [[(slice(None), rows * per_row)] for _ in counts]
            case "rows":
                trained = sum(count > 0 for batch in counts for count in batch)
                return [
                    [(slice(row, row + 1), count * trained) for row, count in enumerate(batch) if count > 0]
                    for batch in counts
                ]


def next_token_labels(
    tokens: torch.Tensor, documents: DocumentLayout, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Labels [B, T]: each position's next token within its document.

    A document's last position has no label (the first token of the next one is not predictable from it), nor, with a
    `mask` [B, T], has a position whose next token is masked out (0).
    """
    labels = torch.full_like(tokens, IGNORE)
    labels[:, :-1] = tokens[:, 1:]
    if mask is not None:
        labels[:, :-1].masked_fill_(mask[:, 1:] == 0, IGNORE)
    rows = torch.tensor([row for row, _, _ in documents.spans], device=tokens.device)
    ends = torch.tensor([end for _, _, end in documents.spans], device=tokens.device)
    labels[rows, ends - 1] = IGNORE
    return labels


def loss_limit(numerics: Numerics | None, losses: Sequence[float]) -> float:
    """The loss above which the next step is a spike, judged by the `losses` before it; infinite until there are enough.

    Losses of 0 judge nothing: they are of steps that had nothing to learn, and would make a spike of any other.
    """
    known = [loss for loss in losses if loss > 0]
    if numerics is None or len(known) < numerics.spike_window_steps:
        return math.inf
    return numerics.spike_factor * median(known[-numerics.spike_window_steps :])


def train_step(
    model: LlamaForCausalLM,
    optimizer: torch.optim.AdamW,
    micro_batches: Sequence[MicroBatch],
    rate: float,
    clip_norm: float,
    precision: Precision = "float32",
    interrupted: Callable[[], bool] = lambda: False,
    loss_limit: float = math.inf,
    mean: LossMean = LossMean(),
) -> StepResult:
    """Takes one optimizer step with learning rate `rate`.

    The loss is a mean over all micro-batches together, by default of their valid tokens, so it doesn't depend on how the
    global batch is cut up. Raises StepInterrupted, DataFailure where no token has a label (decay alone would move the
    weights then), or NumericsFailure for numbers that are not finite and for a loss above `loss_limit`; in any case
    nothing has changed.
    """
    optimizer.zero_grad()
    valid = sum(int((batch.labels != IGNORE).sum()) for batch in micro_batches)
    if valid == 0:
        raise DataFailure("none of the step's tokens is trained on: each is masked out or the first of its document")
    total = 0.0
    for batch, divisors in zip(micro_batches, mean.divisors(micro_batches), strict=True):
        if interrupted():
            optimizer.zero_grad()
            raise StepInterrupted
        if not divisors:
            continue
        with compute_type(precision, batch.tokens.device):
            states = hidden_states(model, batch.tokens, batch.documents)
        sums = [
            cross_entropy_sum(states[rows], model.lm_head.weight, batch.labels[rows]) / divisor
            for rows, divisor in divisors
        ]
        loss = torch.stack(sums).sum() if len(sums) > 1 else sums[0]
        loss.backward()
        total += float(loss.detach())
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm))
    if not (math.isfinite(total) and math.isfinite(norm)):
        optimizer.zero_grad()
        raise NumericsFailure(f"loss {total}, gradient norm {norm}: not finite; weights were not changed")
    if total > loss_limit:
        optimizer.zero_grad()
        raise NumericsFailure(f"loss {total:.4f} is a spike, above {loss_limit:.4f}; weights were not changed")
    set_learning_rate(optimizer, rate)
    optimizer.step()
    return StepResult(loss=total, valid_tokens=valid, gradient_norm=norm)
