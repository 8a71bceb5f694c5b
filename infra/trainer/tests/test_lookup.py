"""Lookups: one exact text, which training, curation and evaluation share."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from longhaul_base_model.data import LookupEncoder
from longhaul_trainer.evaluate import lookup

HERE = Path(__file__).resolve().parent
CASES = json.loads((HERE / "fixtures/lookup.json").read_text(encoding="utf-8"))["cases"]
TOKENIZER = Tokenizer.from_file(str(HERE.parents[2] / "models/base-tiny/tokenizer.json"))


def pairs_of(entries: list[list[str]]) -> list[lookup.Pair]:
    return [(key, value) for key, value in entries]


@pytest.mark.parametrize("case", CASES)
def test_the_text_is_the_golden_one(case: dict[str, Any]) -> None:
    pairs, questions = pairs_of(case["pairs"]), pairs_of(case["questions"])
    assert lookup.render(pairs, questions) == case["text"]
    assert [lookup.prompt(pairs, key) for key, _ in pairs[:2]] == case["prompts"]


def test_the_table_is_json() -> None:
    pairs = lookup.make_pairs(50, random.Random(0))
    assert json.loads(lookup.render_table(pairs)) == dict(pairs)


def test_keys_are_distinct_and_every_pair_is_asked_before_any_is_repeated() -> None:
    rng = random.Random(0)
    pairs = lookup.make_pairs(1000, rng)
    assert len({key for key, _ in pairs}) == 1000
    few = pairs[:5]
    questions = lookup.make_questions(few, 12, rng)
    assert sorted(questions[:5]) == sorted(questions[5:10]) == sorted(few)
    assert len(questions) == 12


def test_a_prompt_and_its_answer_begin_a_rendered_question() -> None:
    pairs = lookup.make_pairs(9, random.Random(0))
    key, value = lookup.at_depth(pairs, 0.5)
    assert (key, value) == pairs[4]
    assert lookup.render(pairs, [(key, value)]) == f'{lookup.prompt(pairs, key)}{value}"\n'


def test_pieces_tokenise_as_the_whole_text_does() -> None:
    rng = random.Random(3)
    pairs = lookup.make_pairs(12, rng)
    questions = lookup.make_questions(pairs, 15, rng)
    ids, answers = LookupEncoder(TOKENIZER).encode(pairs, questions)
    assert ids[1:-1] == TOKENIZER.encode(lookup.render(pairs, questions), add_special_tokens=False).ids
    answered = TOKENIZER.decode([token for token, mark in zip(ids, answers, strict=True) if mark])
    assert answered.replace(" ", "") == "".join(value for _, value in questions)
