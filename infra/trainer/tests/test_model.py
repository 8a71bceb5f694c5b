"""The model is that of `transformers`, whatever its config; only its attention is this package's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from longhaul_trainer.model.config import config_json, json_bytes, read_config, rope_parameters
from longhaul_trainer.model.llama import build_model, hidden_states
from longhaul_trainer.model.loss import IGNORE, cross_entropy_sum
from longhaul_trainer.model.parameters import read_weights
from trainer_support import small_config

LLAMA_3_1 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
TOKENS = torch.arange(96).view(2, 48) * 7 % 64


def changed(**values: Any) -> LlamaConfig:
    return read_config(json_bytes(config_json(small_config()) | values))


CONFIGS = {
    "tied": small_config(),
    "head of its own": small_config(tied=False),
    "large RoPE base": small_config(theta=8e6),
    "RoPE of Llama 3.1": changed(rope_parameters=LLAMA_3_1),
    "biases": changed(attention_bias=True, mlp_bias=True),
    "wide heads": changed(head_dim=16),
}


def plain(ours: LlamaForCausalLM) -> LlamaForCausalLM:
    """The same model with the attention that `transformers` has."""
    model = LlamaForCausalLM(LlamaConfig(**(config_json(ours.config) | {"attn_implementation": "sdpa"})))
    read_weights({name: parameter.detach().clone() for name, parameter in ours.named_parameters()}, model)
    return model


def gradients(model: LlamaForCausalLM, states: torch.Tensor) -> dict[str, torch.Tensor]:
    labels = torch.full_like(TOKENS, IGNORE)
    labels[:, :-1] = TOKENS[:, 1:]
    cross_entropy_sum(states, model.lm_head.weight, labels).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


class TestTheModel:
    @pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
    def test_has_the_states_and_gradients_of_plain_transformers(self, config: LlamaConfig) -> None:
        torch.manual_seed(5)
        ours = build_model(config)
        theirs = plain(ours)
        states, expected = hidden_states(ours, TOKENS), theirs.model(TOKENS, use_cache=False).last_hidden_state
        assert torch.equal(states, expected)
        got, wanted = gradients(ours, states), gradients(theirs, expected)
        assert got.keys() == wanted.keys()
        for name, gradient in wanted.items():
            torch.testing.assert_close(got[name], gradient, atol=1e-5, rtol=1e-5)

    def test_that_is_to_be_loaded_is_not_drawn_first(self) -> None:
        torch.manual_seed(0)
        before = torch.get_rng_state()
        model = build_model(small_config(tied=True), initialize=False)
        assert torch.equal(torch.get_rng_state(), before)
        assert model.lm_head.weight is model.model.embed_tokens.weight

    def test_takes_document_bounds_and_no_mask(self) -> None:
        with pytest.raises(ValueError, match="neither masks nor dropout"):
            build_model(small_config())(TOKENS, attention_mask=torch.zeros(2, 1, 48, 48))


class TestConfigs:
    def test_that_ask_for_what_the_trainer_lacks_are_refused(self) -> None:
        for change in ({"model_type": "qwen2"}, {"attention_dropout": 0.1}):
            with pytest.raises(ValueError, match=next(iter(change))):
                changed(**change)

    def test_of_llama_3_1_as_it_was_published_are_read(self) -> None:
        published = config_json(small_config(theta=5e5))
        del published["rope_parameters"]
        scaling = {key: value for key, value in LLAMA_3_1.items() if key != "rope_theta"}
        config = read_config(json_bytes(published | {"rope_scaling": scaling}))
        assert {key: rope_parameters(config)[key] for key in LLAMA_3_1} == LLAMA_3_1

    def test_are_written_with_the_rope_base_where_every_loader_looks(self) -> None:
        written = config_json(small_config(theta=8e6))
        assert (written["rope_theta"], written["rope_parameters"]["rope_theta"]) == (8e6, 8e6)
