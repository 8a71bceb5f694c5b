"""Exports are Hugging Face folders that plain `transformers` loads, with the logits the trainer's own model gives."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from job_support import TOKENIZER
from longhaul_trainer import export
from longhaul_trainer.config import config_json, json_bytes, read_config
from longhaul_trainer.export import model_files
from longhaul_trainer.model import build_model, hidden_states
from longhaul_trainer.optim import OptimizerSettings, adamw
from longhaul_trainer.state import Counters, save_state
from trainer_support import small_config

TOKENS = torch.arange(40).unsqueeze(0) % 64


def trained(tied: bool) -> LlamaForCausalLM:
    torch.manual_seed(3)
    return build_model(small_config(tied=tied, theta=8e4)).eval()


def assert_same_model(folder: Path, model: LlamaForCausalLM) -> None:
    plain = LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    assert {name: tuple(p.shape) for name, p in plain.named_parameters()} == {
        name: tuple(p.shape) for name, p in model.named_parameters()
    }
    for (name, ours), (_, theirs) in zip(model.named_parameters(), plain.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    with torch.no_grad():
        logits = hidden_states(model, TOKENS) @ model.lm_head.weight.T
        torch.testing.assert_close(plain(TOKENS).logits, logits, atol=1e-4, rtol=1e-4)


class TestFolder:
    @pytest.mark.parametrize("tied", [True, False], ids=["tied head", "head of its own"])
    def test_plain_transformers_loads_it(self, tied: bool, tmp_path: Path) -> None:
        model = trained(tied)
        for name, data in model_files(model, TOKENIZER).items():
            (tmp_path / name).write_bytes(data)
        assert_same_model(tmp_path, model)

    def test_the_rope_base_is_where_old_and_new_loaders_look(self) -> None:
        config = config_json(small_config(theta=8e4))
        assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 8e4

    def test_generation_stops_at_the_end_of_a_text_and_of_a_turn(self) -> None:
        generation = json.loads(model_files(trained(True), TOKENIZER)["generation_config.json"])
        assert generation["eos_token_id"] == [1, 4]

    def test_a_config_survives_reading_and_writing(self) -> None:
        written = json_bytes(config_json(small_config(theta=8e4)))
        assert json_bytes(config_json(read_config(written))) == written

    def test_a_config_of_before_transformers_5_is_read(self) -> None:
        old = config_json(small_config(theta=5e5))
        del old["rope_parameters"]
        assert read_config(json_bytes(old)).rope_parameters["rope_theta"] == 5e5


class TestCommandLine:
    def test_any_checkpoints_files_become_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = trained(True)
        save_state(tmp_path / "state", model, adamw(model.named_parameters(), OptimizerSettings()), Counters(0, 0, 0))
        (tmp_path / "config.json").write_bytes(json_bytes(config_json(model.config)))
        options = {"state": tmp_path / "state", "config": tmp_path / "config.json", "tokenizer": TOKENIZER}
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        monkeypatch.setattr(sys, "argv", ["export", *arguments, "--output", str(tmp_path / "output")])
        export.main()
        assert_same_model(tmp_path / "output", model)
