"""Recall prompts: the right length, the right answer, the same for every model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from longhaul_trainer.contracts import DatasetRef, KvRecallTask, NeedleTask
from longhaul_trainer.errors import DataFailure, UserFailure
from longhaul_trainer.evaluate import lookup
from longhaul_trainer.evaluate.measure import TextEncoder
from longhaul_trainer.evaluate.recall import (
    Prompt,
    kv_recall_prompts,
    largest_fitting,
    needle_prompts,
    require_filled,
    shared_length,
)

REPOSITORY = Path(__file__).resolve().parents[3]
DEPTHS = [0.0, 0.25, 0.5, 0.75, 1.0]


def kv_task(length: int, seed: int = 7, depths: list[float] = DEPTHS) -> KvRecallTask:
    return KvRecallTask(task="kv-recall", length_tokens=length, depths=depths, contexts=4, seed=seed)


def needle_task(length: int, seed: int = 7) -> NeedleTask:
    data = DatasetRef(manifest_url="s3://test/data/manifest.json", digest=f"sha256:{'0' * 64}")
    return NeedleTask(task="needle", length_tokens=length, depths=DEPTHS, contexts=4, seed=seed, haystack=data)


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
        prompts = kv_recall_prompts(CharacterEncoder(), kv_task(length), 0)
        longest = max(len(prompt.tokens) + len(prompt.answer) for prompt in prompts)
        assert 0.98 * length - 64 < longest <= length

    def test_answers_lie_at_their_depths(self) -> None:
        for prompt in kv_recall_prompts(CharacterEncoder(), kv_task(2000), 0):
            table, question = text_of(prompt.tokens).split("}\n")
            pairs = re.findall(r'"(\w+)":"(\w+)"', table)
            key = found(re.fullmatch(r'"(\w+)":"', question))
            assert dict(pairs)[key] == prompt.expected == text_of(prompt.answer)
            place = [pair[0] for pair in pairs].index(key) / (len(pairs) - 1)
            assert place == pytest.approx(prompt.depth, abs=0.5 / (len(pairs) - 1) + 1e-9)

    def test_keys_are_distinct_also_when_the_table_needs_longer_ones(self) -> None:
        for length in (4096, 40_000):
            (prompt,) = kv_recall_prompts(CharacterEncoder(), kv_task(length, depths=[0.5]), 0)
            table = text_of(prompt.tokens).split("}")[0]
            keys = re.findall(r'"(\w+)":', table)
            assert len(set(keys)) == len(keys) > length / 32

    def test_depends_on_seed_and_context_alone(self) -> None:
        def make(seed: int, context: int) -> list[Prompt]:
            return kv_recall_prompts(CharacterEncoder(), kv_task(500, seed=seed), context)

        assert make(7, 0) == make(7, 0)
        digests = {make(seed, context)[0].digest() for seed in (7, 8) for context in (0, 1)}
        assert len(digests) == 4

    def test_all_depths_share_the_table(self) -> None:
        prompts = kv_recall_prompts(CharacterEncoder(), kv_task(1000), 0)
        assert text_of(prompts[0].tokens[: shared_length(prompts)]).endswith('}\n"')

    def test_refuses_a_length_without_room_and_a_tokenizer_that_joins_the_answer(self) -> None:
        with pytest.raises(UserFailure, match="no table fits 16 tokens"):
            kv_recall_prompts(CharacterEncoder(), kv_task(16), 0)
        with pytest.raises(UserFailure, match="joins the answer"):
            kv_recall_prompts(WordyEncoder(), kv_task(500), 0)


class TestNeedle:
    def test_fills_the_length_with_text_and_a_needle_per_depth(self) -> None:
        prompts = needle_prompts(CharacterEncoder(), needle_task(1000), 0, haystack(1000))
        for prompt in prompts:
            assert 990 < len(prompt.tokens) + len(prompt.answer) <= 1000
            text = text_of(prompt.tokens)
            assert len(re.findall(r'\n"\w+":"\w+"\n', text)) == len(DEPTHS)

    def test_the_question_is_for_the_needle_at_its_depth_on_a_line_of_its_own(self) -> None:
        for prompt in needle_prompts(CharacterEncoder(), needle_task(1000), 0, haystack(1000)):
            text = text_of(prompt.tokens)
            key = found(re.search(r'\n"(\w+)":"$', text))
            needle = text.index(f'\n"{key}":"{prompt.expected}"\n')
            assert text[needle - 1] in ("\n", ";") or needle == 0
            assert needle / len(text) == pytest.approx(prompt.depth, abs=0.08)

    def test_the_text_begins_once_and_its_order_is_kept(self) -> None:
        prompt = needle_prompts(CharacterEncoder(), needle_task(1000), 0, haystack(1000))[0]
        assert prompt.tokens[0] == 1 and 1 not in prompt.tokens[1:]
        without = re.sub(r'\n"\w+":"\w+"\n', "", text_of(prompt.tokens)).rsplit("\n", 1)[0]
        assert text_of(haystack(1000)).startswith(without)

    def test_refuses_text_that_is_too_short_and_a_length_without_room_for_text(self) -> None:
        with pytest.raises(DataFailure, match="a row of 500 tokens is too short for 1000"):
            needle_prompts(CharacterEncoder(), needle_task(1000), 0, haystack(500))
        with pytest.raises(UserFailure, match="leave no room"):
            needle_prompts(CharacterEncoder(), needle_task(60), 0, haystack(500))


class TestSharedLength:
    def test_leaves_a_token_to_the_only_prompt(self) -> None:
        assert shared_length([Prompt(0, (1, 2, 3), (4,), "x")]) == 2

    def test_ends_where_prompts_differ(self) -> None:
        assert shared_length([Prompt(0, (1, 2, 3, 4), (5,), "x"), Prompt(1, (1, 2, 9, 4), (5,), "y")]) == 2


# --- with tokenizers as models have them ------------------------------------------------------------------------------

TOKENIZERS = {
    "base-tiny": "models/base-tiny/tokenizer.json",
    "gpt2-style": "test/unit/curation/fixtures/tokenizers/gpt2-style.json",
    "llama3-style": "test/unit/curation/fixtures/tokenizers/llama3-style.json",
}
LENGTHS = [*range(256, 3900, 728), *range(3900, 6101, 200), 4096, 4300, 6144, 8192]
"""Up to 8,192, dense where tables run out of keys of one word."""


@lru_cache
def real_encoder(name: str) -> TextEncoder:
    return TextEncoder(Tokenizer.from_file(str(REPOSITORY / TOKENIZERS[name])), begin=0)


def fills(prompts: Sequence[Prompt], length: int) -> None:
    """The promise about every prompt."""
    for prompt in prompts:
        total = len(prompt.tokens) + len(prompt.answer)
        assert total <= length
        assert total >= 0.97 * length or prompt.shortfall is not None
        assert prompt.shortfall is None or total < 0.97 * length
    require_filled(prompts, length)


@pytest.mark.parametrize("name", TOKENIZERS)
class TestRealTokenizers:
    @pytest.mark.parametrize("length", LENGTHS)
    def test_every_table_fills_its_length_and_none_could_be_longer(self, name: str, length: int) -> None:
        encoder = real_encoder(name)
        prompts = kv_recall_prompts(encoder, kv_task(length, seed=42), 0)
        fills(prompts, length)
        table = encoder.decode(prompts[0].tokens).split("}\n")[0]
        keys = re.findall(r'"(\w+)":', table)
        assert len({key.count("_") for key in keys}) == 1  # one width for all
        assert len(set(keys)) == len(keys)
        spare = length - max(prompt.total for prompt in prompts)
        assert spare < 16 or set(keys) == set(lookup.KEYS)

    @pytest.mark.parametrize("length", LENGTHS)
    def test_every_needle_prompt_fills_its_length(self, name: str, length: int) -> None:
        encoder = real_encoder(name)
        text = encoder.encode("It was a dark and stormy night;\n" * (length // 5))[:length]
        fills(needle_prompts(encoder, needle_task(length, seed=42), 0, text), length)


def test_at_4k_the_shipped_tokenizer_fits_817_pairs() -> None:
    encoder = real_encoder("base-tiny")
    for context in range(3):
        for prompt in kv_recall_prompts(encoder, kv_task(4096, seed=42), context):
            assert encoder.decode(prompt.tokens).count(":") == 817 + 1
            assert len(prompt.tokens) + len(prompt.answer) == 4093


class TestShortPrompts:
    class LongPairs(CharacterEncoder):
        """Every value takes a hundred tokens: lines are too coarse to fill a short length."""

        def encode(self, text: str) -> list[int]:
            return CharacterEncoder.encode(self, re.sub(r'(?<=":")(\w)(?=\w*"\n?)', lambda found: found[1] * 100, text))

    def test_say_why(self) -> None:
        prompts = kv_recall_prompts(self.LongPairs(), kv_task(560), 0)
        assert {prompt.shortfall for prompt in prompts} == {"next-pair-too-long"}
        fills(prompts, 560)

    def test_are_refused_without_a_reason_and_beyond_the_length(self) -> None:
        (prompt,) = kv_recall_prompts(CharacterEncoder(), kv_task(1000, depths=[0.5]), 0)
        require_filled([prompt], 1000)
        with pytest.raises(UserFailure, match="less than 97% of 1100, and nothing says why"):
            require_filled([prompt], 1100)
        with pytest.raises(UserFailure, match="more than 900"):
            require_filled([prompt], 900)

    def test_are_refused_when_there_are_no_more_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lookup, "KEYS", lookup.KEYS[:3])
        with pytest.raises(UserFailure, match="every key there is leaves much of 1000 tokens empty"):
            kv_recall_prompts(CharacterEncoder(), kv_task(1000), 0)


class TestSearch:
    @pytest.mark.parametrize("most", [2, 3, 7, 100, 835])
    def test_finds_the_largest_that_fits_from_any_guess(self, most: int) -> None:
        for limit in {2, 3, most // 2, most - 1, most} - {0, 1}:
            for guess in (-5, 0, 2, limit - 3, limit, limit + 1, most, 10 * most):
                asked: list[int] = []

                def fits(count: int, limit: int = limit, asked: list[int] = asked) -> bool:
                    asked.append(count)
                    return count <= limit

                assert largest_fitting(fits, guess, 2, most) == min(limit, most)
                assert all(2 < count <= most for count in asked)
                assert len(asked) <= 2 * max(1, most).bit_length() + 2
