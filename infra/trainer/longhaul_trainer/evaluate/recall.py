"""Prompts that ask for something written earlier in the context. Pure: same tokenizer, task and seed, same tokens.

Key-value recall: a table of pairs (see `lookup.py`) as long as fits, then the question for the pair at a depth.
Needle: pairs hidden on lines of their own in held-out text, one at each depth, then the question for one of them. One
context serves the questions of all depths.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from longhaul_trainer.contracts import KvRecallTask, NeedleTask, Shortfall
from longhaul_trainer.errors import DataFailure, UserFailure
from longhaul_trainer.evaluate import lookup

MIN_FILL = 0.97
"""Share of a task's length that prompt and answer fill at least, or say why not."""
SAMPLED_PAIRS = 64
"""Pairs from whose tokens it is guessed how many fit."""
NEAREST_LINE_TOKENS = 64
"""How far from its depth a needle may lie so that it starts on a line of its own."""


class Encoder(Protocol):
    """What is needed of a tokenizer."""

    @property
    def begin(self) -> tuple[int, ...]:
        """Tokens that every document begins with; empty where the model knows none."""
        ...

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
    shortfall: Shortfall | None = None
    """Why prompt and answer fill less than MIN_FILL of the length; None where they don't."""

    @property
    def total(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.tokens) + len(self.answer)

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


def _say_why_short(prompts: Sequence[Prompt], length_tokens: int, why: Shortfall) -> list[Prompt]:
    """The prompts, those that fill too little of the length marked with the reason."""
    return [replace(prompt, shortfall=why) if prompt.total < MIN_FILL * length_tokens else prompt for prompt in prompts]


def require_filled(prompts: Sequence[Prompt], length_tokens: int) -> None:
    """A score at a length is one at that length: every prompt and answer fill it, or say why they don't.

    Raises UserFailure for one that is longer, or shorter without a reason.
    """
    for prompt in prompts:
        has = f"prompt and answer have {prompt.total} tokens"
        if prompt.total > length_tokens:
            raise UserFailure(f"{has}, more than {length_tokens}")
        if prompt.total < MIN_FILL * length_tokens and prompt.shortfall is None:
            raise UserFailure(f"{has}, less than {MIN_FILL:.0%} of {length_tokens}, and nothing says why")


# --- key-value recall -------------------------------------------------------------------------------------------------


def kv_recall_prompts(encoder: Encoder, task: KvRecallTask, context: int) -> list[Prompt]:
    """One prompt per depth about one table, as large as fits the task's length with question and answer.

    `context`: which of the task's tables. Its keys have as few words as give enough of them. Raises UserFailure when not
    even two pairs fit.
    """
    length_tokens = task.length_tokens
    name = f"kv-recall {length_tokens} {task.seed} {context}"
    for key_words in range(1, lookup.MOST_KEY_WORDS + 1):
        most = min(lookup.key_count(key_words), length_tokens)
        tables = _Tables(encoder, task.depths, lookup.make_pairs(most, random.Random(name), key_words))
        count = tables.largest(length_tokens)
        if count == 0:
            raise UserFailure(f"kv-recall: no table fits {length_tokens} tokens")
        prompts = tables.prompts(count)
        if max(prompt.total for prompt in prompts) > length_tokens:  # a question's tokens depend on the text before it
            prompts = tables.prompts(count - 1)
        prompts = _say_why_short(prompts, length_tokens, "next-pair-too-long")
        if count < most or all(prompt.shortfall is None for prompt in prompts):
            return prompts
    raise UserFailure(f"kv-recall: a table of every key there is leaves much of {length_tokens} tokens empty")


@dataclass(frozen=True)
class _Tables:
    """Tables of the first few of `pairs`, asked at every depth."""

    encoder: Encoder
    depths: Sequence[float]
    pairs: Sequence[lookup.Pair]

    def prompts(self, count: int) -> list[Prompt]:
        """The questions about the first `count` pairs."""
        return [_table_prompt(self.encoder, self.pairs[:count], depth) for depth in self.depths]

    def tokens(self, count: int) -> int:
        """Tokens of the longest question about the first `count` pairs, with its answer."""
        pairs = self.pairs[:count]
        asked = (lookup.at_depth(pairs, depth) for depth in self.depths)
        key, value = max(asked, key=lambda pair: len(self.encoder.encode(lookup.question(*pair))))
        return len(self.encoder.begin) + len(self.encoder.encode(lookup.prompt(pairs, key) + value))

    def largest(self, length_tokens: int) -> int:
        """The most pairs, at least two, that fit with question and answer; 0 when there are none."""
        few, most = 2, len(self.pairs)
        first, some = self.tokens(few), min(SAMPLED_PAIRS, most)
        if most < few or first > length_tokens:
            return 0
        per_pair = (self.tokens(some) - first) / max(1, some - few)

        def better(count: int, tokens: int) -> int:
            return max(few, min(most, count + int((length_tokens - tokens) / per_pair)))

        guess = better(few, first)
        guess = better(guess, self.tokens(guess))
        return largest_fitting(lambda count: self.tokens(count) <= length_tokens, guess, few, most)


def largest_fitting(fits: Callable[[int], bool], guess: int, low: int, most: int) -> int:
    """The largest count up to `most` that fits, where `low` fits and whatever doesn't fit has none above it that does.

    Searches outwards from `guess`, in steps that double until the answer is enclosed.
    """
    high, step, count = most + 1, 1, guess
    while high - low > 1:
        if not low < count < high:
            count = (low + high) // 2
        if fits(count):
            low, count = count, count + step
        else:
            high, count = count, count - step
        step *= 2
    return low


def _table_prompt(encoder: Encoder, pairs: Sequence[lookup.Pair], depth: float) -> Prompt:
    key, value = lookup.at_depth(pairs, depth)
    text = lookup.prompt(pairs, key)
    tokens = encoder.encode(text)
    whole = encoder.encode(text + value)
    if whole[: len(tokens)] != tokens:
        raise UserFailure("kv-recall: this tokenizer joins the answer with the text before it")
    return Prompt(depth, (*encoder.begin, *tokens), tuple(whole[len(tokens) :]), value)


# --- needle -----------------------------------------------------------------------------------------------------------


def needle_prompts(encoder: Encoder, task: NeedleTask, context: int, haystack: Sequence[int]) -> list[Prompt]:
    """One prompt per depth about one text with a needle at every depth.

    `context`: which of the task's texts; `haystack`: its tokens, held-out ones.

    Raises DataFailure when the text is shorter than the task, UserFailure when the needles leave no room for it.
    """
    length_tokens, depths = task.length_tokens, task.depths
    rng = random.Random(f"needle {length_tokens} {task.seed} {context}")
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
    prompts = [
        Prompt(depth, (*encoder.begin, *body, *asked), answer, value)
        for depth, (_, value), (asked, answer) in zip(depths, pairs, questions, strict=True)
    ]
    return _say_why_short(prompts, length_tokens, "shorter-question")


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
