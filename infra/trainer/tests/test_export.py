"""Exports are Hugging Face folders that plain `transformers` loads, with the logits the trainer's own model gives."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from job_support import TOKENIZER
from longhaul_trainer.checkpoint.state import Counters, save_state
from longhaul_trainer.model import export
from longhaul_trainer.model.config import config_json, json_bytes, read_config, rope_theta
from longhaul_trainer.model.export import generation_config, model_files, write_files
from longhaul_trainer.model.llama import build_model, hidden_states
from longhaul_trainer.model.tokenizer_files import tokenizer_files
from longhaul_trainer.model.weights import INDEX, load_model_weights, weight_file_names, weight_files
from longhaul_trainer.train.optim import adamw
from trainer_support import OPTIMIZER, small_config

TOKENS = torch.arange(40).unsqueeze(0) % 64


def trained(tied: bool) -> LlamaForCausalLM:
    torch.manual_seed(3)
    model = build_model(small_config(tied=tied, theta=8e4))
    model.eval()
    return model


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
        write_files(tmp_path, model_files(model, TOKENIZER))
        assert_same_model(tmp_path, model)

    @pytest.mark.parametrize("tied", [True, False], ids=["tied head", "head of its own"])
    def test_weights_are_cut_into_shards_that_plain_transformers_loads(self, tied: bool, tmp_path: Path) -> None:
        model, limit = trained(tied), 10_000
        write_files(tmp_path, model_files(model, TOKENIZER, shard_bytes=limit))
        assert not (tmp_path / "model.safetensors").exists()
        index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
        shards = sorted(set(index["weight_map"].values()))
        held = [load_file(tmp_path / shard) for shard in shards]
        assert len(shards) > 2
        for tensors in held:
            assert len(tensors) == 1 or sum(tensor.nbytes for tensor in tensors.values()) <= limit
        assert {name: index["weight_map"][name] for name in index["weight_map"]} == {
            name: shard for shard, tensors in zip(shards, held, strict=True) for name in tensors
        }
        assert index["metadata"]["total_size"] == sum(p.nbytes for p in model.parameters())
        assert_same_model(tmp_path, model)

    def test_one_shard_at_a_time_is_in_memory(self) -> None:
        files = weight_files(trained(False), shard_bytes=10_000)
        assert [name for name, file in files.items() if not callable(file)] == ["model.safetensors.index.json"]

    def test_weights_are_saved_in_the_type_asked_for_and_the_config_says_so(self, tmp_path: Path) -> None:
        model = trained(True)
        write_files(tmp_path, model_files(model, TOKENIZER, "bfloat16"))
        plain = LlamaForCausalLM.from_pretrained(tmp_path)
        assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
        for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
            assert theirs.dtype == torch.bfloat16
            assert torch.equal(ours.to(torch.bfloat16), theirs)

    def test_the_rope_base_is_where_old_and_new_loaders_look(self) -> None:
        config = config_json(small_config(theta=8e4))
        assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 8e4
        assert config["rope_scaling"] is None

    def test_a_scaling_is_where_old_and_new_loaders_look(self) -> None:
        scaled = small_config()
        scaled.rope_parameters = {"rope_type": "linear", "factor": 2.0, "rope_theta": 8e4}
        config = config_json(scaled)
        assert config["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
        assert read_config(json_bytes(config)).rope_parameters == scaled.rope_parameters

    def test_a_config_survives_reading_and_writing(self) -> None:
        written = json_bytes(config_json(small_config(theta=8e4)))
        assert json_bytes(config_json(read_config(written))) == written

    def test_a_config_of_before_transformers_5_is_read(self) -> None:
        old = config_json(small_config(theta=5e5))
        del old["rope_parameters"]
        assert rope_theta(read_config(json_bytes(old))) == 5e5


def tokenizer_with(folder: Path, **files: str | dict[str, Any]) -> Path:
    """The shipped tokenizer with files added or changed: texts as they are, anything else as JSON over what is there."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((TOKENIZER / name).read_bytes())
    for key, change in files.items():
        file = folder / (f"{key}.json" if not isinstance(change, str) else f"{key}.jinja")
        if isinstance(change, str):
            file.write_text(change, encoding="utf-8")
        else:
            before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            file.write_text(json.dumps(before | change), encoding="utf-8")
    return folder


class TestStops:
    """Whoever generates stops where the base model stops, at the end of a text, and at the end of a turn."""

    @pytest.mark.parametrize(
        ("generation", "config", "stops"),
        [
            pytest.param(None, 1, [1, 4], id="the config's and the tokenizer's"),
            pytest.param(None, 4, [1, 4], id="an instruct model's, which ends turns only"),
            pytest.param(None, [1, 3, 4], [1, 3, 4], id="the config's list"),
            pytest.param(None, None, [1, 4], id="the tokenizer's alone"),
            pytest.param({"eos_token_id": [1, 3, 4]}, 4, [1, 3, 4], id="the base's list"),
            pytest.param({"eos_token_id": 2}, [3], [1, 2, 3, 4], id="whatever is named anywhere"),
            pytest.param({"temperature": 0.6}, 4, [1, 4], id="a base that names none"),
        ],
    )
    def test_every_one_is_named_once(
        self, generation: dict[str, Any] | None, config: int | list[int] | None, stops: list[int], tmp_path: Path
    ) -> None:
        model_config = small_config()
        model_config.eos_token_id = config
        folder = tokenizer_with(tmp_path, **({} if generation is None else {"generation_config": generation}))
        written = generation_config(model_config, folder)
        assert written == {"bos_token_id": 0, "eos_token_id": stops, "do_sample": False}
        assert config_json(model_config)["eos_token_id"] == config

    @pytest.mark.parametrize("bad", [64, -1, 1.5, "1", [1, 64], [[1]], True, {}])
    def test_what_is_no_token_of_the_model_is_refused(self, bad: object, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"generation_config.json: eos_token_id has .*no token of the 64"):
            generation_config(small_config(), tokenizer_with(tmp_path, generation_config={"eos_token_id": bad}))
        with pytest.raises(ValueError):
            read_config(json_bytes(config_json(small_config()) | {"eos_token_id": bad}))


class TestTokenizer:
    """An export's tokenizer is its base's, for the length that was trained, its chat template for old and new loaders."""

    TEMPLATE = "{% for message in messages %}<{{ message['content'] }}>{% endfor %}"
    CHAT: ClassVar = [{"role": "user", "content": "so"}]

    def rendered(self, folder: Path, chat_template: str | None = None) -> str:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        text = tokenizer.apply_chat_template(self.CHAT, chat_template=chat_template, tokenize=False)
        assert isinstance(text, str)
        return text

    def exported(self, source: Path, folder: Path, length: int = 512) -> tuple[Path, dict[str, Any]]:
        write_files(folder, tokenizer_files(source, length))
        return folder, json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))

    def source(self, tmp_path: Path, **files: str | dict[str, Any]) -> Path:
        (tmp_path / "source").mkdir()
        return tokenizer_with(tmp_path / "source", **files)

    def test_a_template_of_its_config_is_in_both_places(self, tmp_path: Path) -> None:
        source = self.source(tmp_path, tokenizer_config={"chat_template": self.TEMPLATE})
        folder, config = self.exported(source, tmp_path / "export")
        assert config["chat_template"] == (folder / "chat_template.jinja").read_text() == self.TEMPLATE
        assert self.rendered(folder) == "<so>"

    def test_a_template_of_its_own_file_is_in_both_places(self, tmp_path: Path) -> None:
        source = self.source(tmp_path, chat_template=self.TEMPLATE, tokenizer_config={"chat_template": "outdated"})
        folder, config = self.exported(source, tmp_path / "export")
        assert config["chat_template"] == (folder / "chat_template.jinja").read_text() == self.TEMPLATE
        assert self.rendered(folder) == "<so>"

    def test_named_templates_keep_their_names(self, tmp_path: Path) -> None:
        named = [{"name": "default", "template": self.TEMPLATE}, {"name": "rag", "template": "rag"}]
        source = self.source(tmp_path, tokenizer_config={"chat_template": named})
        folder, _ = self.exported(source, tmp_path / "export")
        assert (self.rendered(folder), self.rendered(folder, chat_template="rag")) == ("<so>", "rag")

    def test_named_templates_of_their_own_files_keep_their_names(self, tmp_path: Path) -> None:
        source = self.source(tmp_path, chat_template=self.TEMPLATE)
        (source / "additional_chat_templates").mkdir()
        (source / "additional_chat_templates" / "rag.jinja").write_text("rag")
        folder, _ = self.exported(source, tmp_path / "export")
        assert (self.rendered(folder), self.rendered(folder, chat_template="rag")) == ("<so>", "rag")

    def test_without_a_template_it_has_none(self, tmp_path: Path) -> None:
        source = self.source(tmp_path, tokenizer_config={"chat_template": None})
        folder, config = self.exported(source, tmp_path / "export")
        assert "chat_template" not in config
        assert sorted(file.name for file in folder.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]

    @pytest.mark.parametrize("bad", [1, {"default": "x"}, [{"name": "x"}], ["x"]])
    def test_a_template_of_another_form_is_refused(self, bad: object, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="chat_template"):
            tokenizer_files(self.source(tmp_path, tokenizer_config={"chat_template": bad}), 512)

    def test_it_cuts_nothing_that_the_model_is_made_for(self, tmp_path: Path) -> None:
        cut = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
        padded: dict[str, object] = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None}
        padded |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "x"}
        source = self.source(tmp_path, tokenizer={"truncation": cut, "padding": padded})
        folder, config = self.exported(source, tmp_path / "export", length=300)
        assert config["model_max_length"] == 300
        text = "a b " * 1000
        plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
        assert len(plain.encode(text).ids) == len(Tokenizer.from_file(str(TOKENIZER / "tokenizer.json")).encode(text))
        assert len(plain.encode("a").ids) == 2
        assert len(AutoTokenizer.from_pretrained(folder)(text, truncation=True)["input_ids"]) == 300

    def test_an_untouched_tokenizer_stays_as_it_is_to_the_byte(self, tmp_path: Path) -> None:
        source = self.source(tmp_path)
        assert tokenizer_files(source, 512)["tokenizer.json"] == (source / "tokenizer.json").read_bytes()


class TestModelFolder:
    """Of a model folder only what its manifest lists is ever read."""

    def shards(self, folder: Path) -> set[str]:
        write_files(folder, model_files(trained(True), TOKENIZER, shard_bytes=10_000))
        return {file.name for file in folder.iterdir()}

    def test_shards_are_loaded_by_their_index(self, tmp_path: Path) -> None:
        listed, other = self.shards(tmp_path), trained(True)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        load_model_weights(tmp_path, listed, other)
        for ours, theirs in zip(trained(True).parameters(), other.parameters(), strict=True):
            assert torch.equal(ours, theirs)

    @pytest.mark.parametrize(
        "place", ["../outside.safetensors", "{folder}/outside.safetensors", "unlisted.safetensors"]
    )
    def test_an_index_that_names_anything_else_is_refused(self, place: str, tmp_path: Path) -> None:
        folder = tmp_path / "model"
        listed = self.shards(folder)
        name = place.format(folder=tmp_path)
        index = json.loads((folder / INDEX).read_text())
        moved = index["weight_map"]["model.norm.weight"]
        index["weight_map"] = {key: name if file == moved else file for key, file in index["weight_map"].items()}
        (folder / INDEX).write_text(json.dumps(index))
        (folder / moved).rename(folder / name)
        with pytest.raises(ValueError, match="names files that are not among the model's own"):
            load_model_weights(folder, listed - {moved}, trained(True))

    @pytest.mark.parametrize("text", ["{}", "[]", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "no JSON"])
    def test_an_index_that_is_none_is_refused(self, text: str, tmp_path: Path) -> None:
        listed = self.shards(tmp_path)
        (tmp_path / INDEX).write_text(text)
        with pytest.raises(ValueError):
            weight_file_names(tmp_path, listed)

    def test_a_tensor_that_two_files_have_is_refused(self, tmp_path: Path) -> None:
        listed = self.shards(tmp_path)
        index = json.loads((tmp_path / INDEX).read_text())
        shards = sorted(set(index["weight_map"].values()))
        (tmp_path / shards[1]).write_bytes((tmp_path / shards[0]).read_bytes())
        with pytest.raises(ValueError, match="repeats"):
            load_model_weights(tmp_path, listed, trained(True))

    def test_a_file_beside_the_listed_ones_is_not_the_models(self, tmp_path: Path) -> None:
        write_files(tmp_path, model_files(trained(True), TOKENIZER))
        with pytest.raises(ValueError, match=r"there is no model.safetensors"):
            load_model_weights(tmp_path, {"config.json"}, trained(True))


class TestCommandLine:
    def test_any_checkpoints_files_become_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = trained(True)
        save_state(tmp_path / "state", model, adamw(model.named_parameters(), OPTIMIZER), Counters(0, 0, 0))
        (tmp_path / "config.json").write_bytes(json_bytes(config_json(model.config)))
        options = {"state": tmp_path / "state", "config": tmp_path / "config.json", "tokenizer": TOKENIZER}
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        monkeypatch.setattr(sys, "argv", ["export", *arguments, "--output", str(tmp_path / "output")])
        export.main()
        assert_same_model(tmp_path / "output", model)
