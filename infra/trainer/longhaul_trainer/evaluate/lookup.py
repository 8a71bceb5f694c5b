"""Key-value lookups: the one definition of the recall format.

A table is a JSON object with one pair per line, keys and values both words, and questions follow it, each answered, in
the very form of the pairs:

    {
    "name":"red",
    "length":"old"
    }
    "length":"old"
    "name":"red"

Precisely: `{`, newline; the pairs `"key":"value"` joined by comma and newline; newline, `}`, newline; then each
question's `"key":"value"` followed by a newline. No spaces anywhere. Keys and values are words of `lookup_words.json`,
each a single token of the bundled tokenizer; no word is both. Keys are distinct within a table; where a table needs more
keys than there are words, all of its keys are two of them joined by `_`. Values are drawn independently and may repeat.
A prompt stops right before the value: `"length":"`; its answer is the value.

TypeScript (src/curation/rows/lookups.ts) renders the same text; tests/fixtures/lookup.json holds pairs, questions and
texts that both must reproduce.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_WORDS = json.loads(Path(__file__).with_name("lookup_words.json").read_text(encoding="utf-8"))
KEYS: tuple[str, ...] = tuple(_WORDS["keys"])
"""Words that serve as keys, sorted."""
VALUES: tuple[str, ...] = tuple(_WORDS["values"])
"""Words that serve as values, sorted."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Segment:
    """A piece of rendered text; `answer` is true for a question's value, the part worth predicting."""

    text: str
    answer: bool


MOST_KEY_WORDS = 2
"""Words that a key is joined of, at most."""


def key_count(key_words: int) -> int:
    """How many keys of so many words there are."""
    count: int = len(KEYS) ** key_words
    return count


def make_pairs(count: int, rng: random.Random, key_words: int | None = None) -> list[Pair]:
    """`count` pairs with distinct keys of `key_words` words; by default of as few as give so many keys."""
    words = key_words or (1 if count <= len(KEYS) else MOST_KEY_WORDS)
    return [(_key(number, words), rng.choice(VALUES)) for number in rng.sample(range(key_count(words)), count)]


def _key(number: int, key_words: int) -> str:
    """Key `number` of those with so many words."""
    digits = [number // key_count(place) % len(KEYS) for place in reversed(range(key_words))]
    return "_".join(KEYS[digit] for digit in digits)


def make_questions(pairs: Sequence[Pair], count: int, rng: random.Random) -> list[Pair]:
    """`count` pairs to ask for: every pair once in random order, then again, so often as it takes."""
    questions: list[Pair] = []
    while len(questions) < count:
        questions.extend(rng.sample(list(pairs), len(pairs)))
    return questions[:count]


def render_table(pairs: Sequence[Pair]) -> str:
    """The JSON object, with its closing newline."""
    return "{\n" + ",\n".join(f'"{key}":"{value}"' for key, value in pairs) + "\n}\n"


def render(pairs: Sequence[Pair], questions: Sequence[Pair]) -> str:
    """Table and answered questions as one text."""
    return "".join(segment.text for segment in segments(pairs, questions))


def segments(pairs: Sequence[Pair], questions: Sequence[Pair]) -> list[Segment]:
    """The text of `render` in pieces, so that answers can be told from the rest."""
    pieces = [Segment(render_table(pairs), False)]
    for key, value in questions:
        pieces += [Segment(f'"{key}":"', False), Segment(value, True), Segment('"\n', False)]
    return pieces


def prompt(pairs: Sequence[Pair], key: str) -> str:
    """The text before the value of `key`: the table and the question up to the value's opening quote."""
    return f'{render_table(pairs)}"{key}":"'


def question(key: str, value: str) -> str:
    """A question with its answer, as it follows a table."""
    return f'"{key}":"{value}'


def at_depth(pairs: Sequence[Pair], depth: float) -> Pair:
    """The pair that lies at `depth` of the table, 0 the first and 1 the last."""
    return pairs[round(depth * (len(pairs) - 1))]
