"""What is measured in one go, a unit: all questions about one context, or the loss of one held-out row.

A unit knows its sample ids without a model: they are equal for every model, so that scores pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from tokenizers import Tokenizer
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from longhaul_trainer.contracts import (
    DatasetRef,
    HeldOutLossRecord,
    HeldOutLossTask,
    KvRecallTask,
    LossBucket,
    NeedleTask,
    RecallRecord,
    now,
)
from longhaul_trainer.errors import DataFailure
from longhaul_trainer.evaluate.generate import Context, Question, token_losses
from longhaul_trainer.evaluate.recall import Prompt, kv_recall_prompts, needle_prompts, require_filled, shared_length
from longhaul_trainer.evaluate.records import Record, Task
from longhaul_trainer.model.llama import Precision

CLOSING_TOKENS = 1
"""Tokens generated beyond the length of the right answer: enough to see whether the model ends it there."""

CLOSING = '"'


class TextEncoder:
    """A tokenizer.json as the recall prompts need it."""

    def __init__(self, tokenizer: Tokenizer, begin: int | None) -> None:
        """`begin`: id of the token that documents begin with, if there is one."""
        self._tokenizer = tokenizer
        self.begin: tuple[int, ...] = () if begin is None else (begin,)

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`, nothing added."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of `tokens`."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=False)
        return text

    def ends_line(self, token: int) -> bool:
        """Whether a line ends with this token."""
        return self.decode([token]).endswith("\n")


@dataclass(frozen=True)
class Row:
    """A row of a dataset: tokens [T] and the half-open bounds of its documents."""

    tokens: Sequence[int]
    documents: Sequence[tuple[int, int]]


RowReader = Callable[[DatasetRef, int], Row]
"""Reads row i of a dataset, verified. Raises DataFailure when it isn't what the manifest says."""


@dataclass(frozen=True)
class Subject:
    """A model under evaluation, in memory."""

    target: str
    model: LlamaForCausalLM
    encoder: TextEncoder
    precision: Precision


class Unit(Protocol):
    """What is measured in one go."""

    @property
    def samples(self) -> Sequence[str]:
        """Ids of its samples."""
        ...

    def measure(self, subject: Subject, key: str, wanted: set[str], rows: RowReader) -> Iterator[Record]:
        """Records of the samples in `wanted`."""
        ...


def units_of(task: Task) -> list[Unit]:
    """The units of a task, in order."""
    match task:
        case HeldOutLossTask():
            return [LossUnit(task, row) for row in range(task.rows)]
        case KvRecallTask() | NeedleTask():
            return [RecallUnit(task, context) for context in range(task.contexts)]


class RecallUnit:
    """The questions about one context, one per depth."""

    def __init__(self, task: KvRecallTask | NeedleTask, context: int) -> None:
        self._task, self._context = task, context
        name = f"{task.task}-{task.length_tokens}-s{task.seed}-c{context:03d}"
        self.samples = [f"{name}-d{index:02d}" for index in range(len(task.depths))]

    def measure(self, subject: Subject, key: str, wanted: set[str], rows: RowReader) -> Iterator[Record]:
        """The context is read once for all of `wanted`."""
        prompts = self._prompts(subject.encoder, rows)
        require_filled(prompts, self._task.length_tokens)
        shared = shared_length(prompts)
        chosen = [(s, p) for s, p in zip(self.samples, prompts, strict=True) if s in wanted]
        context = Context(subject.model, prompts[0].tokens[:shared], subject.precision)
        questions = [Question(prompt.tokens[shared:], prompt.answer) for _, prompt in chosen]
        longest = max(len(prompt.answer) for prompt in prompts)
        replies = context.ask(questions, longest + CLOSING_TOKENS)
        for (sample, prompt), reply in zip(chosen, replies, strict=True):
            output = subject.encoder.decode(reply.output).split(CLOSING)[0]
            yield RecallRecord(
                schema_="longhaul.record/1",
                key=key,
                sample=sample,
                target=subject.target,
                length_tokens=self._task.length_tokens,
                finished_at=now(),
                task=self._task.task,
                depth=prompt.depth,
                prompt_tokens=len(prompt.tokens),
                shortfall=prompt.shortfall,
                prompt_digest=prompt.digest(),
                expected=prompt.expected,
                output=output,
                exact_match=output == prompt.expected,
                answer_log_probability=round(reply.log_probability, 6),
                answer_tokens=len(prompt.answer),
            )

    def _prompts(self, encoder: TextEncoder, rows: RowReader) -> list[Prompt]:
        task = self._task
        if isinstance(task, KvRecallTask):
            return kv_recall_prompts(encoder, task, self._context)
        haystack = rows(task.haystack, self._context).tokens
        return needle_prompts(encoder, task, self._context, haystack)


class LossUnit:
    """The loss by position of one held-out row."""

    def __init__(self, task: HeldOutLossTask, row: int) -> None:
        self._task, self._row = task, row
        data = task.dataset.digest.removeprefix("sha256:")[:8]
        self.samples = [f"{task.task}-{task.length_tokens}-{data}-r{row:05d}"]

    def measure(self, subject: Subject, key: str, wanted: set[str], rows: RowReader) -> Iterator[Record]:
        """One record. A document's first token has nothing before it and no loss."""
        del wanted
        task = self._task
        row = rows(task.dataset, self._row)
        if len(row.tokens) != task.length_tokens:
            raise DataFailure(f"held-out-loss: a row has {len(row.tokens)} tokens, not {task.length_tokens}")
        edges = [0, *task.bucket_edges, task.length_tokens]
        lost = torch.zeros(len(edges) - 1, dtype=torch.float64)
        seen = torch.zeros(len(edges) - 1, dtype=torch.int64)
        for start, end in row.documents:
            if end - start < 2:
                continue
            tokens = torch.tensor([list(row.tokens[start:end])], device=subject.model.lm_head.weight.device)
            losses = token_losses(subject.model, tokens, subject.precision)[0].double().cpu()
            places = torch.bucketize(torch.arange(1, end - start), torch.tensor(edges[1:-1]), right=True)
            lost.index_add_(0, places, losses)
            seen.index_add_(0, places, torch.ones_like(places))
        yield HeldOutLossRecord(
            schema_="longhaul.record/1",
            key=key,
            sample=self.samples[0],
            target=subject.target,
            length_tokens=task.length_tokens,
            finished_at=now(),
            task="held-out-loss",
            buckets=[
                LossBucket(from_=low, to=high, tokens=int(tokens), loss_sum=round(float(loss), 6))
                for low, high, tokens, loss in zip(edges, edges[1:], seen, lost, strict=False)
            ],
        )
