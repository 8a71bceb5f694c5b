"""The model and its optimizer are those of `transformers` and `torch.optim` without their import time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.llama.configuration_llama import LlamaConfig as TheirConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from longhaul_trainer.config import LlamaConfig, config_json, json_bytes, read_config
from longhaul_trainer.loss import IGNORE, cross_entropy_sum
from longhaul_trainer.model import Llama, build_model, frequencies
from longhaul_trainer.optim import AdamW, OptimizerSettings
from longhaul_trainer.state import read_weights
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


def rope(**parameters: Any) -> LlamaConfig:
    config = small_config()
    return LlamaConfig(**{**vars(config), "rope_parameters": parameters})


CONFIGS = {
    "tied": small_config(),
    "head of its own": small_config(tied=False),
    "large RoPE base": small_config(theta=8e6),
    "RoPE of Llama 3.1": rope(**LLAMA_3_1),
    "biases": LlamaConfig(**{**vars(small_config()), "attention_bias": True, "mlp_bias": True}),
    "wide heads": LlamaConfig(**{**vars(small_config()), "head_dim": 16}),
}


def theirs(ours: Llama) -> LlamaForCausalLM:
    """The same model in transformers."""
    values = config_json(ours.config)
    model = LlamaForCausalLM(TheirConfig(**values, attn_implementation="sdpa"))
    read_weights({name: parameter.detach().clone() for name, parameter in ours.named_parameters()}, model)
    return model


def gradients(model: torch.nn.Module, states: torch.Tensor) -> dict[str, torch.Tensor]:
    labels = torch.full_like(TOKENS, IGNORE)
    labels[:, :-1] = TOKENS[:, 1:]
    cross_entropy_sum(states, model.lm_head.weight, labels).backward()  # type: ignore[union-attr, arg-type]
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


class TestTheModel:
    @pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
    def test_has_the_states_and_gradients_of_transformers(self, config: LlamaConfig) -> None:
        torch.manual_seed(5)
        ours = build_model(config)
        other = theirs(ours)
        assert [name for name, _ in ours.named_parameters()] == [name for name, _ in other.named_parameters()]
        states = ours(TOKENS)
        expected = other.model(TOKENS, use_cache=False).last_hidden_state
        assert torch.equal(states, expected)
        got, wanted = gradients(ours, states), gradients(other, expected)
        assert got.keys() == wanted.keys()
        for name, gradient in wanted.items():
            torch.testing.assert_close(got[name], gradient, atol=1e-5, rtol=1e-5)

    def test_is_drawn_as_the_config_says(self) -> None:
        torch.manual_seed(0)
        model = build_model(LlamaConfig(**{**vars(CONFIGS["biases"]), "initializer_range": 0.03, "hidden_size": 256}))
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                assert float(parameter.detach().std()) == pytest.approx(0.03, rel=0.05), name
            else:
                assert torch.all(parameter == (0 if name.endswith("bias") else 1)), name

    def test_slow_pairs_turn_slower_in_llama_3_1(self) -> None:
        plain, scaled = frequencies(rope(rope_type="default", rope_theta=5e5)), frequencies(rope(**LLAMA_3_1))
        assert float(scaled[0]) == float(plain[0])
        assert float(scaled[-1]) == pytest.approx(float(plain[-1]) / 8)


class TestConfigs:
    def test_that_ask_for_what_the_model_lacks_are_refused(self) -> None:
        for change in ({"model_type": "qwen2"}, {"hidden_act": "gelu"}, {"attention_dropout": 0.1}):
            with pytest.raises(ValueError, match=next(iter(change))):
                read_config(json_bytes(config_json(small_config()) | change))
        with pytest.raises(ValueError, match="RoPE of type 'yarn'"):
            read_config(json_bytes(config_json(rope(**LLAMA_3_1)) | {"rope_parameters": {"rope_type": "yarn"}}))
        with pytest.raises(ValueError, match="num_hidden_layers"):
            read_config(b'{"vocab_size": 1, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}')

    def test_of_llama_3_1_as_it_was_published_are_read(self) -> None:
        published = config_json(small_config(theta=5e5))
        del published["rope_parameters"]
        scaling = {key: value for key, value in LLAMA_3_1.items() if key != "rope_theta"}
        assert read_config(json_bytes(published | {"rope_scaling": scaling})).rope_parameters == LLAMA_3_1


class TestTheOptimizer:
    def test_moves_weights_and_moments_as_torch_optim_does(self) -> None:
        torch.manual_seed(6)
        ours = build_model(small_config())
        copies = {name: parameter.detach().clone().requires_grad_() for name, parameter in ours.named_parameters()}
        settings = OptimizerSettings()
        optimizer = AdamW(ours.named_parameters(), settings)
        reference = torch.optim.AdamW(
            [
                {"params": [p for p in copies.values() if p.ndim > 1], "weight_decay": settings.weight_decay},
                {"params": [p for p in copies.values() if p.ndim <= 1], "weight_decay": 0.0},
            ],
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            fused=True,
        )
        for rate in (1e-3, 3e-3, 1e-4):
            for name, parameter in ours.named_parameters():
                parameter.grad = torch.randn_like(parameter)
                copies[name].grad = parameter.grad.clone()
            for group in reference.param_groups:
                group["lr"] = rate
            optimizer.step(rate)
            reference.step()
        for name, parameter in ours.named_parameters():
            assert torch.equal(parameter, copies[name]), name
            for key, value in reference.state[copies[name]].items():
                assert torch.equal(optimizer.state[parameter][key], value), (name, key)


STEP = """
import json, sys
import longhaul_trainer.stage
from longhaul_trainer.contracts import Runtime
from longhaul_trainer.model import build_model
from longhaul_trainer.numerics import configure
from longhaul_trainer.optim import AdamW, OptimizerSettings
from longhaul_trainer.step import train_step
from trainer_support import batch, small_config
import torch
configure(Runtime(device="cpu", precision="float32", strict=True, threads=1), 0)
model = build_model(small_config())
rows = batch(torch.zeros(1, 8, dtype=torch.int64), [[(0, 3), (3, 8)]])
train_step(model, AdamW(model.named_parameters(), OptimizerSettings()), [rows], 1e-3, 1.0)
slow = ("transformers", "torch._dynamo", "torch._inductor", "sympy", "torch.distributed.tensor", "scipy", "pandas")
print(json.dumps([name for name in slow if name in sys.modules]))
"""


def test_nothing_slow_is_imported_up_to_the_first_step() -> None:
    tests = Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, "-c", STEP],
        env={"PYTHONPATH": f"{tests.parent}:{tests}", "PATH": ""},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == []
