"""Prompts that ask for something written earlier in the context. Pure: same tokenizer, task and seed, same tokens.

Key-value recall: a table of pairs (see `lookup.py`) as long as fits, then the question for the pair at a depth.
Needle: pairs hidden on lines of their own in held-out text, one at each depth, then the question for one of them. One
context serves the questions of all depths.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from . import lookup
from .errors import DataFailure, UserFailure

NEAREST_LINE_TOKENS = 64
"""How far from its depth a needle may lie so that it starts on a line of its own."""


class Encoder(Protocol):
    """What is needed of a tokenizer."""

    begin: tuple[int, ...]
    """Tokens that every document begins with; empty where the model knows none."""

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`, nothing added."""
        ...

    def ends_line(self, token: int) -> bool:
        """Whether a line ends with this token."""
        ...


@dataclass(frozen=True)
class Prompt:
    """A question behind its whole context. `tokens`: everything before the answer; `answer`: the right tokens."""

    depth: float
    tokens: tuple[int, ...]
    answer: tuple[int, ...]
    expected: str

    def digest(self) -> str:
        """SHA-256 of the tokens as little-endian uint32."""
        return f"sha256:{hashlib.sha256(np.array(self.tokens, dtype='<u4').tobytes()).hexdigest()}"


def shared_length(prompts: Sequence[Prompt]) -> int:
    """How many tokens all prompts begin with, at least one token being left to each."""
    most = min(len(prompt.tokens) for prompt in prompts) - 1
    first = np.array(prompts[0].tokens[:most])
    for prompt in prompts[1:]:
        differing = np.flatnonzero(first != np.array(prompt.tokens[: len(first)]))
        first = first[: differing[0]] if len(differing) else first
    return len(first)


# --- key-value recall -------------------------------------------------------------------------------------------------


def kv_recall_prompts(
    encoder: Encoder, length_tokens: int, depths: Sequence[float], seed: int, context: int
) -> list[Prompt]:
    """One prompt per depth about one table, as large as fits `length_tokens` with question and answer.

    Raises UserFailure when not even two pairs fit.
    """
    name = f"kv-recall {length_tokens} {seed} {context}"
    count = _estimated_pairs(encoder, length_tokens, name)
    while count >= 2:
        pairs = lookup.make_pairs(count, random.Random(name))
        prompts = [_table_prompt(encoder, pairs, depth) for depth in depths]
        excess = max(len(prompt.tokens) + len(prompt.answer) for prompt in prompts) - length_tokens
        if excess <= 0:
            return prompts
        count -= 1 + excess * count // length_tokens
    raise UserFailure(f"kv-recall: no table fits {length_tokens} tokens")


def _estimated_pairs(encoder: Encoder, length_tokens: int, name: str) -> int:
    """How many pairs should fit, from the tokens of single lines: a little more than do, never many fewer.

    Tables of more pairs than there are words have longer keys, and so other lines.
    """
    count = 0
    for most in (len(lookup.KEYS), max(length_tokens, len(lookup.KEYS) + 1)):
        pairs = lookup.make_pairs(most, random.Random(name))[:256]
        tokens = sum(len(encoder.encode(f'"{key}":"{value}",\n')) for key, value in pairs)
        count = int(1.02 * length_tokens * len(pairs) / tokens) + 2
        if count <= len(lookup.KEYS):
            return count
    return count


def _table_prompt(encoder: Encoder, pairs: Sequence[lookup.Pair], depth: float) -> Prompt:
    key, value = lookup.at_depth(pairs, depth)
    text = lookup.prompt(pairs, key)
    tokens = encoder.encode(text)
    whole = encoder.encode(text + value)
    if whole[: len(tokens)] != tokens:
        raise UserFailure("kv-recall: this tokenizer joins the answer with the text before it")
    return Prompt(depth, (*encoder.begin, *tokens), tuple(whole[len(tokens) :]), value)


# --- needle -----------------------------------------------------------------------------------------------------------


def needle_prompts(
    encoder: Encoder, length_tokens: int, depths: Sequence[float], seed: int, context: int, haystack: Sequence[int]
) -> list[Prompt]:
    """One prompt per depth about one text with a needle at every depth. `haystack`: tokens of held-out text.

    Raises DataFailure when the text is shorter than the task, UserFailure when the needles leave no room for it.
    """
    rng = random.Random(f"needle {length_tokens} {seed} {context}")
    pairs = lookup.make_pairs(len(depths), rng)
    needles = [encoder.encode(f'\n"{key}":"{value}"\n') for key, value in pairs]
    questions = [_needle_question(encoder, pair) for pair in pairs]
    extra = sum(map(len, needles)) + max(len(asked) + len(answer) for asked, answer in questions)
    room = length_tokens - len(encoder.begin) - extra
    if room < 1:
        raise UserFailure(f"needle: {len(depths)} needles leave no room for text in {length_tokens} tokens")
    text = list(haystack)
    if tuple(text[: len(encoder.begin)]) == encoder.begin:
        text = text[len(encoder.begin) :]
    if len(text) < room:
        raise DataFailure(f"needle: a row of {len(haystack)} tokens is too short for {length_tokens}")
    body = _hide(encoder, text[:room], needles, depths)
    return [
        Prompt(depth, (*encoder.begin, *body, *asked), answer, value)
        for depth, (_, value), (asked, answer) in zip(depths, pairs, questions, strict=True)
    ]


def _needle_question(encoder: Encoder, pair: lookup.Pair) -> tuple[tuple[int, ...], tuple[int, ...]]:
    key, value = pair
    asked = encoder.encode(f'\n"{key}":"')
    whole = encoder.encode(f'\n"{key}":"{value}')
    if whole[: len(asked)] != asked:
        raise UserFailure("needle: this tokenizer joins the answer with the text before it")
    return tuple(asked), tuple(whole[len(asked) :])


def _hide(encoder: Encoder, text: list[int], needles: Sequence[list[int]], depths: Sequence[float]) -> list[int]:
    """`text` with each needle put in at its depth, at the nearest start of a line where there is one close by."""
    places = sorted((_line_start(encoder, text, round(depth * len(text))), index) for index, depth in enumerate(depths))
    body: list[int] = []
    before = 0
    for place, index in places:
        body += text[before:place] + needles[index]
        before = place
    return body + text[before:]


def _line_start(encoder: Encoder, text: Sequence[int], place: int) -> int:
    for distance in range(NEAREST_LINE_TOKENS):
        for candidate in (place - distance, place + distance):
            if candidate == 0 or (0 < candidate <= len(text) and encoder.ends_line(text[candidate - 1])):
                return candidate
    return place
