"""Rows for the base model: windows of real text, and key-value lookups with their answers marked."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer

from longhaul_base_model.texts import Document
from longhaul_base_model.tokenizer import BEGIN_OF_TEXT, END_OF_TEXT, token_id
from longhaul_trainer.evaluate import lookup
from longhaul_trainer.model.attention import document_layout
from longhaul_trainer.model.loss import IGNORE
from longhaul_trainer.train.step import MicroBatch, next_token_labels

PAIR_TOKENS = 5
"""Tokens of one pair or question with the bundled tokenizer: quote, key, colon, value, line end."""


@dataclass(frozen=True)
class RowMix:
    """What rows are made of.

    `lookup_share` of them hold lookups of at most `longest_lookup` tokens each; `answers_only`: of those rows only the
    answers are trained on. The other rows are windows of text, domains by `domains`.
    """

    lookup_share: float
    longest_lookup: int
    answers_only: bool
    domains: Mapping[str, float]


def encode_documents(tokenizer: Tokenizer, documents: Sequence[Document]) -> dict[str, np.ndarray]:
    """Per domain one stream of token ids (uint16), each document between begin and end tokens."""
    begin, end = token_id(tokenizer, BEGIN_OF_TEXT), token_id(tokenizer, END_OF_TEXT)
    parts: dict[str, list[np.ndarray]] = {}
    for document in documents:
        ids = tokenizer.encode(document.text, add_special_tokens=False).ids
        parts.setdefault(document.domain, []).append(np.array([begin, *ids, end], dtype=np.uint16))
    return {domain: np.concatenate(streams) for domain, streams in parts.items()}


class LookupEncoder:
    """Turns rendered lookups into ids; pieces repeat endlessly, so each is tokenised once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}
        self._begin = token_id(tokenizer, BEGIN_OF_TEXT)
        self._end = token_id(tokenizer, END_OF_TEXT)
        self._open, self._close = self._ids("{\n"), self._ids('"\n}\n')
        self._quote, self._between, self._next, self._after = (
            self._ids('"'),
            self._ids('":"'),
            self._ids('",\n'),
            self._ids('"\n'),
        )

    def _ids(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return self._known[text]

    def encode(self, pairs: Sequence[lookup.Pair], questions: Sequence[lookup.Pair]) -> tuple[list[int], list[int]]:
        """Token ids of a whole lookup document and, beside each, 1 where it belongs to an answer."""
        ids = [self._begin, *self._open]
        for index, (key, value) in enumerate(pairs):
            last = index == len(pairs) - 1
            ids += [
                *self._quote,
                *self._ids(key),
                *self._between,
                *self._ids(value),
                *(self._close if last else self._next),
            ]
        answers = [0] * len(ids)
        for key, value in questions:
            before, answer = [*self._quote, *self._ids(key), *self._between], self._ids(value)
            ids += [*before, *answer, *self._after]
            answers += [0] * len(before) + [1] * len(answer) + [0] * len(self._after)
        return [*ids, self._end], [*answers, 0]


def lookup_row(
    encoder: LookupEncoder, length: int, longest: int, rng: random.Random
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Lookups packed into a row of `length` tokens: ids, answer marks and document bounds. The last one is cut."""
    ids: list[int] = []
    answers: list[int] = []
    bounds: list[tuple[int, int]] = []
    while len(ids) < length:
        places = max(3, rng.randint(min(longest, 48), longest) // PAIR_TOKENS)
        pairs = lookup.make_pairs(rng.randint(2, max(2, places * 2 // 3)), rng)
        questions = lookup.make_questions(pairs, max(1, places - len(pairs)), rng)
        more, marks = encoder.encode(pairs, questions)
        start = len(ids)
        ids += more
        answers += marks
        bounds.append((start, min(len(ids), length)))
    return ids[:length], answers[:length], bounds


def text_row(
    streams: Mapping[str, np.ndarray], domains: Mapping[str, float], length: int, rng: random.Random
) -> list[int]:
    """A window at a random place of a random domain's stream."""
    (domain,) = rng.choices(list(domains), weights=list(domains.values()))
    stream = streams[domain]
    start = rng.randrange(len(stream) - length)
    window: list[int] = stream[start : start + length].tolist()
    return window


def make_batch(
    streams: Mapping[str, np.ndarray], encoder: LookupEncoder, mix: RowMix, rows: int, length: int, seed: str
) -> MicroBatch:
    """The batch of one step, a pure function of `seed`: `rows` rows of `length` tokens."""
    rng = random.Random(seed)
    lookups = round(rows * mix.lookup_share + rng.random() - 0.5)
    tokens, marks, bounds = [], [], []
    for row in range(rows):
        if row < lookups:
            ids, answers, documents = lookup_row(encoder, length, mix.longest_lookup, rng)
            marks.append(answers if mix.answers_only else [1] * length)
        else:
            ids, documents = text_row(streams, mix.domains, length, rng), [(0, length)]
            marks.append([1] * length)
        tokens.append(ids)
        bounds.append(documents)
    ids_tensor = torch.tensor(tokens)
    layout = document_layout(bounds, length)
    return MicroBatch(ids_tensor, next_token_labels(ids_tensor, layout, torch.tensor(marks)), layout)


def answers_exact(predicted: torch.Tensor, tokens: torch.Tensor, answers: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Counts answers predicted exactly and answers in all. `predicted` [B, T]: the likeliest next token at each place."""
    right = asked = 0
    for row, marks in enumerate(answers):
        start = None
        for position, mark in enumerate([*marks, 0]):
            if mark and start is None:
                start = position
            elif not mark and start is not None:
                asked += 1
                right += bool((predicted[row, start - 1 : position - 1] == tokens[row, start:position]).all())
                start = None
    return right, asked


__all__ = [
    "IGNORE",
    "LookupEncoder",
    "RowMix",
    "answers_exact",
    "encode_documents",
    "lookup_row",
    "make_batch",
    "text_row",
]
