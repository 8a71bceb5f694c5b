"""Key-value lookups: the one definition of the recall format.

A table is a JSON object with one pair per line, keys of three decimal digits and values of two, both zero-padded and
both strings, and questions follow it, each answered, in the very form of the pairs:

    {
    "417":"52",
    "903":"17"
    }
    "903":"17"
    "417":"52"

Precisely: `{`, newline; the pairs `"key":"value"` joined by comma and newline; newline, `}`, newline; then each
question's `"key":"value"` followed by a newline. No spaces anywhere. Keys are distinct within a table; values are drawn
independently and may repeat. A prompt stops right before the value's digits: `"903":"`; its answer is the two digits.

TypeScript (src/curation/lookups.ts) renders the same text; tests/fixtures/lookup.json holds pairs, questions and
texts that both must reproduce.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

KEY_DIGITS = 3
VALUE_DIGITS = 2

Pair = tuple[str, str]


@dataclass(frozen=True)
class Segment:
    """A piece of rendered text; `answer` is true for a question's value, the part worth predicting."""

    text: str
    answer: bool


def make_pairs(count: int, rng: random.Random) -> list[Pair]:
    """`count` pairs with distinct keys. At most 10**KEY_DIGITS."""
    keys = rng.sample(range(10**KEY_DIGITS), count)
    return [(f"{key:0{KEY_DIGITS}d}", f"{rng.randrange(10**VALUE_DIGITS):0{VALUE_DIGITS}d}") for key in keys]


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


def at_depth(pairs: Sequence[Pair], depth: float) -> Pair:
    """The pair that lies at `depth` of the table, 0 the first and 1 the last."""
    return pairs[round(depth * (len(pairs) - 1))]
