"""Asking questions about a context: the cache must not change what the model would say without one."""

from __future__ import annotations

import pytest
import torch
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from longhaul_trainer.evaluate import generate
from longhaul_trainer.evaluate.generate import BufferLayer, Context, Question, token_losses
from longhaul_trainer.model.llama import build_model

VOCABULARY = 64


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        initializer_range=0.4,
    )
    model = build_model(config)
    model.eval()
    return model


def draw(count: int, seed: int) -> tuple[int, ...]:
    return tuple(torch.randint(VOCABULARY, (count,), generator=torch.Generator().manual_seed(seed)).tolist())


def full_logits(model: LlamaForCausalLM, tokens: tuple[int, ...]) -> torch.Tensor:
    """Logits [T, V] of one forward pass without a cache."""
    with torch.inference_mode():
        positions = torch.arange(len(tokens)).unsqueeze(0)
        logits: torch.Tensor = model.lm_head(
            model.model(torch.tensor([tokens]), position_ids=positions, use_cache=False).last_hidden_state
        )[0]
        return logits


def greedy_by_recomputing(model: LlamaForCausalLM, tokens: tuple[int, ...], count: int) -> tuple[int, ...]:
    for _ in range(count):
        tokens += (int(full_logits(model, tokens)[-1].argmax()),)
    return tokens[-count:]


QUESTIONS = [Question(draw(5, 10), draw(3, 11)), Question(draw(7, 12), draw(3, 13)), Question(draw(5, 14), draw(1, 15))]


class TestAsking:
    def test_decoding_with_the_cache_equals_recomputing_everything(self, model: LlamaForCausalLM) -> None:
        context = draw(50, 2)
        replies = Context(model, context, "float32").ask(QUESTIONS, 6)
        for question, reply in zip(QUESTIONS, replies, strict=True):
            assert reply.output == greedy_by_recomputing(model, context + question.tokens, 6)

    def test_log_probability_of_the_answer_equals_a_full_forward(self, model: LlamaForCausalLM) -> None:
        context = draw(50, 3)
        replies = Context(model, context, "float32").ask(QUESTIONS, 2)
        for question, reply in zip(QUESTIONS, replies, strict=True):
            tokens = context + question.tokens + question.answer
            logs = full_logits(model, tokens).log_softmax(-1)
            expected = sum(
                float(logs[len(tokens) - len(question.answer) + i - 1, token])
                for i, token in enumerate(question.answer)
            )
            assert reply.log_probability == pytest.approx(expected, abs=1e-4)

    def test_questions_do_not_see_each_other(self, model: LlamaForCausalLM) -> None:
        context = Context(model, draw(50, 4), "float32")
        alone = [context.ask([question], 4)[0] for question in QUESTIONS]
        together = context.ask(QUESTIONS, 4)
        for one, other in zip(alone, together, strict=True):
            assert one.output == other.output
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)

    def test_reading_a_context_in_pieces_changes_nothing(
        self, model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = Context(model, draw(50, 5), "float32").ask(QUESTIONS, 4)
        monkeypatch.setattr(generate, "PREFILL_TOKENS", 16)
        monkeypatch.setattr(generate, "CACHE_BYTES", 1)
        pieces = Context(model, draw(50, 5), "float32").ask(QUESTIONS, 4)
        for one, other in zip(whole, pieces, strict=True):
            assert one.output == other.output
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)

    def test_a_cache_refuses_more_tokens_than_it_has_room_for(self) -> None:
        layer = BufferLayer(3)
        with pytest.raises(ValueError, match="4 tokens don't fit"):
            layer.update(torch.zeros(1, 1, 4, 2), torch.zeros(1, 1, 4, 2))


class TestTokenLosses:
    def test_equal_a_full_forward_however_the_head_is_cut(self, model: LlamaForCausalLM) -> None:
        tokens = torch.tensor([draw(40, 6), draw(40, 7)])
        losses = token_losses(model, tokens, "float32", head_tokens=7)
        assert losses.shape == (2, 39)
        for row in range(2):
            expected = torch.nn.functional.cross_entropy(
                full_logits(model, tuple(tokens[row].tolist()))[:-1], tokens[row, 1:], reduction="none"
            )
            torch.testing.assert_close(losses[row], expected, atol=1e-4, rtol=1e-4)
