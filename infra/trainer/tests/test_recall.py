"""Recall prompts: the right length, the right answer, the same for every model."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from longhaul_trainer.errors import DataFailure, UserFailure
from longhaul_trainer.recall import Prompt, kv_recall_prompts, needle_prompts, shared_length

DEPTHS = [0.0, 0.25, 0.5, 0.75, 1.0]


class CharacterEncoder:
    """One token per character, as the digits of the real tokenizers are."""

    begin = (1,)

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def ends_line(self, token: int) -> bool:
        return token == ord("\n")


class WordyEncoder(CharacterEncoder):
    """A tokenizer that would swallow the answer's first digit."""

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in re.sub(r'":"\w', "#", text)]


def text_of(tokens: Sequence[int]) -> str:
    return "".join(chr(token) for token in tokens if token != 1)


def found(match: re.Match[str] | None) -> str:
    """The key in a question."""
    assert match is not None
    return match[1]


def haystack(length: int) -> list[int]:
    return [1, *CharacterEncoder().encode("It was a dark and stormy night;\n" * (length // 32 + 1))][:length]


class TestKeyValueRecall:
    @pytest.mark.parametrize("length", [128, 1000, 4096, 40_000])
    def test_prompt_and_answer_fit_the_length_and_leave_little_of_it_empty(self, length: int) -> None:
        prompts = kv_recall_prompts(CharacterEncoder(), length, DEPTHS, 7, 0)
        longest = max(len(prompt.tokens) + len(prompt.answer) for prompt in prompts)
        assert 0.98 * length - 64 < longest <= length

    def test_answers_lie_at_their_depths(self) -> None:
        for prompt in kv_recall_prompts(CharacterEncoder(), 2000, DEPTHS, 7, 0):
            table, question = text_of(prompt.tokens).split("}\n")
            pairs = re.findall(r'"(\w+)":"(\w+)"', table)
            key = found(re.fullmatch(r'"(\w+)":"', question))
            assert dict(pairs)[key] == prompt.expected == text_of(prompt.answer)
            place = [pair[0] for pair in pairs].index(key) / (len(pairs) - 1)
            assert place == pytest.approx(prompt.depth, abs=0.5 / (len(pairs) - 1) + 1e-9)

    def test_keys_are_distinct_also_when_the_table_needs_longer_ones(self) -> None:
        for length in (4096, 40_000):
            table = text_of(kv_recall_prompts(CharacterEncoder(), length, [0.5], 7, 0)[0].tokens).split("}")[0]
            keys = re.findall(r'"(\w+)":', table)
            assert len(set(keys)) == len(keys) > length / 32

    def test_depends_on_seed_and_context_alone(self) -> None:
        def make(seed: int, context: int) -> list[Prompt]:
            return kv_recall_prompts(CharacterEncoder(), 500, DEPTHS, seed, context)

        assert make(7, 0) == make(7, 0)
        digests = {make(seed, context)[0].digest() for seed in (7, 8) for context in (0, 1)}
        assert len(digests) == 4

    def test_all_depths_share_the_table(self) -> None:
        prompts = kv_recall_prompts(CharacterEncoder(), 1000, DEPTHS, 7, 0)
        assert text_of(prompts[0].tokens[: shared_length(prompts)]).endswith('}\n"')

    def test_refuses_a_length_without_room_and_a_tokenizer_that_joins_the_answer(self) -> None:
        with pytest.raises(UserFailure, match="no table fits 16 tokens"):
            kv_recall_prompts(CharacterEncoder(), 16, DEPTHS, 7, 0)
        with pytest.raises(UserFailure, match="joins the answer"):
            kv_recall_prompts(WordyEncoder(), 500, DEPTHS, 7, 0)


class TestNeedle:
    def test_fills_the_length_with_text_and_a_needle_per_depth(self) -> None:
        prompts = needle_prompts(CharacterEncoder(), 1000, DEPTHS, 7, 0, haystack(1000))
        for prompt in prompts:
            assert 990 < len(prompt.tokens) + len(prompt.answer) <= 1000
            text = text_of(prompt.tokens)
            assert len(re.findall(r'\n"\w+":"\w+"\n', text)) == len(DEPTHS)

    def test_the_question_is_for_the_needle_at_its_depth_on_a_line_of_its_own(self) -> None:
        for prompt in needle_prompts(CharacterEncoder(), 1000, DEPTHS, 7, 0, haystack(1000)):
            text = text_of(prompt.tokens)
            key = found(re.search(r'\n"(\w+)":"$', text))
            needle = text.index(f'\n"{key}":"{prompt.expected}"\n')
            assert text[needle - 1] in ("\n", ";") or needle == 0
            assert needle / len(text) == pytest.approx(prompt.depth, abs=0.08)

    def test_the_text_begins_once_and_its_order_is_kept(self) -> None:
        prompt = needle_prompts(CharacterEncoder(), 1000, DEPTHS, 7, 0, haystack(1000))[0]
        assert prompt.tokens[0] == 1 and 1 not in prompt.tokens[1:]
        without = re.sub(r'\n"\w+":"\w+"\n', "", text_of(prompt.tokens)).rsplit("\n", 1)[0]
        assert text_of(haystack(1000)).startswith(without)

    def test_refuses_text_that_is_too_short_and_a_length_without_room_for_text(self) -> None:
        with pytest.raises(DataFailure, match="a row of 500 tokens is too short for 1000"):
            needle_prompts(CharacterEncoder(), 1000, DEPTHS, 7, 0, haystack(500))
        with pytest.raises(UserFailure, match="leave no room"):
            needle_prompts(CharacterEncoder(), 60, DEPTHS, 7, 0, haystack(500))


class TestSharedLength:
    def test_leaves_a_token_to_the_only_prompt(self) -> None:
        assert shared_length([Prompt(0, (1, 2, 3), (4,), "x")]) == 2

    def test_ends_where_prompts_differ(self) -> None:
        assert shared_length([Prompt(0, (1, 2, 3, 4), (5,), "x"), Prompt(1, (1, 2, 9, 4), (5,), "y")]) == 2
