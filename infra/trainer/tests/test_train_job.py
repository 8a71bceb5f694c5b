"""A training job as the control plane launches it: from spec.json to checkpoints, outcome and exported model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from job_support import (
    TOKENIZER,
    Sample,
    StageMaker,
    StageRun,
    publish_dataset,
    publish_folder,
    publish_small_model,
    samples,
    set_paths,
    spec_of,
    unique,
)
from longhaul_trainer.artifacts import fetch_model
from longhaul_trainer.export import read_config
from longhaul_trainer.checkpoint import load_commit
from longhaul_trainer.model import build_model, hidden_states
from longhaul_trainer.state import MOMENTS, WEIGHTS, read_weights, weights_digest
from longhaul_trainer.store import Store
from safetensors.torch import load as load_tensors

LENGTH, ROWS, STEPS = 128, 4, 6


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def store(prefix: str) -> Store:
    return Store.from_environment()


@pytest.fixture
def stage(prefix: str, store: Store, bytecode: Path) -> Iterator[StageMaker]:
    """Makes stages of the small model: `stage({"data.steps": 4}, rows=…, initialize=…)`."""
    made: list[StageRun] = []

    def make(
        changes: dict[str, Any] | None = None,
        rows: list[Sample] | None = None,
        initialize: dict[str, Any] | None = None,
    ) -> StageRun:
        url = unique(prefix)
        model, config = publish_small_model(store, f"{url}-model", LENGTH)
        rows = rows if rows is not None else samples(ROWS * STEPS, LENGTH, documents=3)
        data = {
            "dataset": publish_dataset(store, f"{url}-data", rows).model_dump(mode="json", by_alias=True),
            "sequenceLengthTokens": LENGTH,
            "globalBatchTokens": ROWS * LENGTH,
            "steps": STEPS,
        }
        start = initialize or {"from": "model", "model": model.model_dump(mode="json")}
        spec = spec_of(url, start, config, store, model, data)
        made.append(StageRun(store, set_paths(spec, changes or {}), bytecode))
        return made[-1]

    yield make
    for run in made:
        run.end()


class TestTrainedModel:
    def test_the_shipped_base_trains_and_plain_transformers_reloads_it_with_equal_logits(
        self, prefix: str, store: Store, bytecode: Path, tmp_path: Path
    ) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        base = publish_folder(store, f"{prefix}/models/base-tiny", TOKENIZER)
        config = read_config((TOKENIZER / "config.json").read_bytes())
        length = config.max_position_embeddings
        data = {
            "dataset": publish_dataset(
                store, f"{prefix}/data", samples(8, length, config.vocab_size, 2), config.vocab_size
            ).model_dump(mode="json", by_alias=True),
            "sequenceLengthTokens": length,
            "globalBatchTokens": 2 * length,
            "steps": 4,
        }
        start = {"from": "model", "model": base.model_dump(mode="json")}
        url = f"{prefix}/runs/r/stages/01-stage"
        run = StageRun(
            store, spec_of(url, start, (TOKENIZER / "config.json").read_bytes(), store, base, data), bytecode
        )
        outcome = run.run()
        assert outcome.result == "trained", outcome
        assert (outcome.step, outcome.tokens) == (4, 8 * length)
        assert outcome.last_loss < outcome.first_loss

        folder = fetch_model(store, outcome.model, tmp_path / "export")
        plain = AutoModelForCausalLM.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        text = "def f(x):\n    return 1234\n"
        tokens = torch.tensor([tokenizer.encode(text)])
        assert tokenizer.decode(tokens[0], skip_special_tokens=True) == text
        restored, problems = load_commit(store, run.urls, run.commit(), None)
        assert restored is not None, problems
        ours = build_model(config).eval()
        read_weights(load_tensors(bytes(restored.files[WEIGHTS])), ours)
        assert weights_digest(dict(ours.named_parameters())) == outcome.weights_digest
        with torch.no_grad():
            logits = hidden_states(ours, tokens, None) @ ours.lm_head.weight.T
            torch.testing.assert_close(plain(tokens).logits, logits, atol=1e-4, rtol=1e-4)
            ours.config._attn_implementation = plain.config._attn_implementation
            assert torch.equal(plain(tokens).logits, ours(tokens).logits)
