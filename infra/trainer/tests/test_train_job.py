"""A training job as the control plane launches it: from spec.json to checkpoints, outcome and exported model."""

from __future__ import annotations

import os
import secrets
import signal
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from conftest import S3Server
from job_support import (
    LENGTH,
    ROWS,
    STEPS,
    TOKENIZER,
    Sample,
    StageMaker,
    StageRun,
    from_checkpoint,
    make_stage,
    publish_dataset,
    publish_folder,
    samples,
    spec_of,
    trained_tokens,
)
from longhaul_trainer.checkpoint.state import MOMENTS
from longhaul_trainer.contracts import EXIT_CODES
from longhaul_trainer.errors import DataFailure, Stopped, UserFailure
from longhaul_trainer.model.config import read_config
from longhaul_trainer.model.llama import build_model, hidden_states
from longhaul_trainer.model.parameters import WEIGHTS, read_weights, weights_digest
from longhaul_trainer.store.artifacts import fetch_model, publish_model
from longhaul_trainer.store.client import Store
from longhaul_trainer.train.optim import learning_rate
from protocol_support import tamper
from trainer_support import small_config

KINDS = ("carry", "fresh")
LONG_STEPS = 150
LONG_BATCH = 12
"""Rows of a step in the stages that are interrupted: long enough to be caught in the middle."""
LONG = {
    "data.steps": LONG_STEPS,
    "data.globalBatchTokens": LONG_BATCH * LENGTH,
    "schedule.totalTokens": LONG_STEPS * LONG_BATCH * LENGTH,
    "checkpoints.everySteps": 20,
}


def long_rows() -> list[Sample]:
    """Rows of the stages that are interrupted."""
    return samples(LONG_BATCH * LONG_STEPS, LENGTH, documents=3)


@pytest.fixture(scope="module")
def undisturbed(s3_server: S3Server) -> Any:
    """The outcome of the long stage when nothing interrupts it."""
    run = make_stage(Store.from_environment(), "s3://test/undisturbed", LONG, rows=long_rows())
    try:
        outcome = run.run()
    finally:
        run.end()
    assert outcome.result == "trained", outcome
    return outcome


class TestTrainedModel:
    def test_the_shipped_base_trains_and_plain_transformers_reloads_it_with_equal_logits(
        self, prefix: str, store: Store, tmp_path: Path
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
        run = StageRun(store, spec_of(url, start, (TOKENIZER / "config.json").read_bytes(), store, base, data))
        outcome = run.run()
        assert outcome.result == "trained", outcome
        assert (outcome.step, outcome.tokens) == (4, 8 * length)
        assert outcome.last_loss < outcome.first_loss

        folder = fetch_model(store, outcome.model, tmp_path / "export").path
        plain = AutoModelForCausalLM.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        text = "def f(x):\n    return 1234\n"
        tokens = torch.tensor([tokenizer.encode(text)])
        assert tokenizer.decode(tokens[0], skip_special_tokens=True) == text
        ours = build_model(config).eval()
        read_weights(run.tensors(WEIGHTS), ours)
        assert weights_digest(dict(ours.named_parameters())) == outcome.weights_digest
        with torch.no_grad():
            assert torch.equal(plain(tokens).logits, ours.lm_head(hidden_states(ours, tokens)))


class TestExport:
    def test_weights_are_published_in_the_type_the_spec_asks_for(self, stage: StageMaker, tmp_path: Path) -> None:
        full = stage({"data.steps": 2}).run_inside()
        run = stage({"data.steps": 2, "export": {"weights": "bfloat16"}})
        trained = run.run_inside()
        assert trained.weights_digest == full.weights_digest
        folder = fetch_model(run.store, trained.model, tmp_path)
        weights = load_file(folder.path / "model.safetensors")
        assert run.config_of(trained.model)["torch_dtype"] == "bfloat16"
        stored = run.tensors(WEIGHTS)
        for name, tensor in weights.items():
            assert torch.equal(tensor, stored[name].to(torch.bfloat16)), name


class TestStartingPoint:
    def test_carried_moments_are_the_checkpoints_and_counters_start_anew(
        self, stage: StageMaker, tmp_path: Path
    ) -> None:
        first = stage()
        trained = first.run_inside()
        following = stage(initialize=from_checkpoint(first, "carry"))
        loaded = following.load_inside(tmp_path)
        stored = first.tensors(MOMENTS)
        assert weights_digest(dict(loaded.model.named_parameters())) == trained.weights_digest
        for name, parameter in loaded.model.named_parameters():
            assert stored[f"{name}/step"] == STEPS
            for key, value in loaded.optimizer.state[parameter].items():
                assert torch.equal(value, stored[f"{name}/{key}"]), (name, key)
        assert (loaded.counters.step, loaded.counters.tokens, loaded.counters.next_sample) == (0, 0, 0)

    def test_fresh_moments_start_empty_from_the_same_weights(self, stage: StageMaker, tmp_path: Path) -> None:
        first = stage()
        trained = first.run_inside()
        loaded = stage(initialize=from_checkpoint(first, "fresh")).load_inside(tmp_path)
        assert weights_digest(dict(loaded.model.named_parameters())) == trained.weights_digest
        assert not loaded.optimizer.state

    def test_carried_and_fresh_moments_lead_to_different_weights(self, stage: StageMaker) -> None:
        first = stage()
        first.run_inside()
        digests = {stage(initialize=from_checkpoint(first, kind)).run_inside().weights_digest for kind in KINDS}
        assert len(digests) == len(KINDS)

    def test_a_longer_stage_with_another_rope_base_continues_a_shorter_one(self, stage: StageMaker) -> None:
        first = stage()
        first.run_inside()
        longer = stage(
            {"data.sequenceLengthTokens": 2 * LENGTH, "data.steps": 2},
            rows=samples(ROWS, 2 * LENGTH, documents=2),
            initialize=from_checkpoint(first, "carry"),
            config=small_config(length=2 * LENGTH, theta=8e4),
        )
        trained = longer.run_inside()
        assert trained.commit.step == 2
        assert longer.config_of(trained.model)["rope_parameters"]["rope_theta"] == 8e4


class TestObjective:
    def test_sft_counts_only_masked_in_tokens(self, stage: StageMaker) -> None:
        rows = samples(ROWS * 2, LENGTH, documents=2, masked=True)
        run = stage({"objective": "masked-tokens", "data.steps": 2}, rows=rows)
        run.run_inside()
        expected = [sum(trained_tokens(row) for row in rows[at : at + ROWS]) for at in (0, ROWS)]
        assert [step.valid_tokens for step in run.steps()] == expected

    def test_documents_of_a_row_are_one_when_masking_is_off(self, stage: StageMaker) -> None:
        rows = samples(ROWS, LENGTH, documents=3)
        losses, valid = [], []
        for masking in (True, False):
            run = stage({"data.documentMasking": masking, "data.steps": 1}, rows=rows)
            run.run_inside()
            (step,) = run.steps()
            losses.append(step.loss)
            valid.append(step.valid_tokens)
        assert losses[0] != losses[1]
        assert valid == [ROWS * LENGTH - sum(len(row.bounds) for row in rows), ROWS * (LENGTH - 1)]

    def test_the_rate_of_every_step_follows_the_schedule_by_tokens(self, stage: StageMaker) -> None:
        run = stage()
        run.run_inside()
        schedule = run.spec_model().schedule
        assert [step.learning_rate for step in run.steps()] == [
            learning_rate(schedule, number * ROWS * LENGTH) for number in range(1, STEPS + 1)
        ]

    def test_the_rate_of_every_step_goes_by_the_tokens_before_it_when_asked_for(self, stage: StageMaker) -> None:
        run = stage({"schedule.rateAt": "step-start"})
        run.run_inside()
        schedule = run.spec_model().schedule
        rates = [step.learning_rate for step in run.steps()]
        assert rates == [learning_rate(schedule, number * ROWS * LENGTH) for number in range(STEPS)]
        assert rates[0] == 0

    def test_a_running_average_goes_on_over_a_stop_as_if_there_had_been_none(self, stage: StageMaker) -> None:
        rows = samples(ROWS * STEPS, LENGTH, documents=2, masked=True)
        for number, row in enumerate(rows):
            assert row.mask is not None
            row.mask[: LENGTH * (number % 7) // 8] = 0
        settings = {"objective": "masked-tokens", "lossMean": "running-average"}
        whole, stopped = stage(settings, rows=rows), stage(settings, rows=rows)
        expected = whole.run_inside()
        with pytest.raises(Stopped):
            stopped.run_inside(stop_after=3)
        assert stopped.run_inside().weights_digest == expected.weights_digest
        assert stage({"objective": "masked-tokens"}, rows=rows).run_inside().weights_digest != expected.weights_digest


class TestRefusal:
    def test_numbers_that_are_not_finite_end_the_attempt_as_numerics_without_a_commit(self, stage: StageMaker) -> None:
        run = stage(spoil=lambda weights: weights["model.norm.weight"].fill_(float("inf")))
        outcome = run.run()
        assert (outcome.result, outcome.class_) == ("ended", "numerics")
        assert outcome.step == 0
        assert run.head().commit is None

    def test_rows_without_a_token_to_train_on_end_the_attempt_as_data_before_weights_move(
        self, stage: StageMaker
    ) -> None:
        rows = samples(ROWS * 3, LENGTH, documents=2, masked=True)
        for row in rows[ROWS : 2 * ROWS]:
            assert row.mask is not None
            row.mask[:] = 0
        run = stage({"objective": "masked-tokens", "data.steps": 3, "checkpoints.everySteps": 1}, rows=rows)
        with pytest.raises(DataFailure, match=r"rows 4 to 7: none of the step's tokens is trained on"):
            run.run_inside()
        assert run.commit().step == 1
        run.terms = {"skipSteps": [{"first": 2, "last": 2}]}
        assert run.run_inside().commit.step == 3

    @pytest.mark.parametrize(
        ("name", "text", "problem"),
        [
            ("generation_config.json", '{"eos_token_id": [[1, 3], 4]}', "eos_token_id"),
            ("generation_config.json", "no JSON", "generation_config.json is no JSON"),
            ("tokenizer_config.json", '{"chat_template": 1}', "chat_template"),
        ],
    )
    def test_what_no_export_can_be_made_of_is_refused_before_the_first_step(
        self, name: str, text: str, problem: str, stage: StageMaker, tmp_path: Path
    ) -> None:
        run = stage()
        files = {file: (TOKENIZER / file).read_bytes() for file in ("tokenizer.json", "tokenizer_config.json")}
        model = publish_model(run.store, f"{run.urls.url}-tokenizer", {**files, name: text.encode()}, "base")
        run.change({"tokenizer": model.model_dump(mode="json")})
        with pytest.raises(UserFailure, match=problem):
            run.load_inside(tmp_path)

    def test_another_dataset_manifest_on_resume_is_refused(self, stage: StageMaker) -> None:
        run = stage({"data.steps": 2})
        run.run_inside()
        other = publish_dataset(run.store, f"{run.urls.url}-other", samples(ROWS * STEPS, LENGTH, seed=1))
        run.change({"data.dataset": other.model_dump(mode="json", by_alias=True), "data.steps": 4})
        with pytest.raises(UserFailure, match="another dataset manifest"):
            run.run_inside()

    def test_every_way_in_which_a_dataset_does_not_fit_is_named_at_once(self, stage: StageMaker) -> None:
        run = stage({"objective": "masked-tokens", "data.steps": 100}, rows=samples(ROWS, LENGTH // 2), vocabulary=65)
        with pytest.raises(UserFailure) as refusal:
            run.run_inside()
        for problem in ("64 tokens, the stage needs 128", "4 rows, the stage consumes 400", "65 tokens", "no mask"):
            assert problem in str(refusal.value)

    def test_a_shard_that_is_not_what_its_manifest_says_ends_the_attempt_as_data(self, stage: StageMaker) -> None:
        run = stage()
        tamper(run.store, f"{run.urls.url}-data/shard.00001.mds", lambda data: data[:-1] + b"\x01")
        with pytest.raises(DataFailure, match=r"shard\.00001\.mds does not have the digest"):
            run.run_inside()

    def test_rows_longer_than_the_config_allows_are_refused(self, stage: StageMaker) -> None:
        with pytest.raises(UserFailure, match="max_position_embeddings is 64"):
            stage(config=small_config(length=64)).run_inside()


class TestInterruption:
    """However an attempt ends, the next one goes on from its commit, to the bits an undisturbed run ends with."""

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_it_goes_on_in_either_precision_as_if_nothing_had_happened(self, stage: StageMaker, precision: str) -> None:
        changes = {"runtime.precision": precision, "checkpoints.everySteps": STEPS}
        whole = stage(changes).run_inside()
        run = stage(changes)
        with pytest.raises(Stopped):
            run.run_inside(stop_after=STEPS // 2)
        assert run.commit().step == STEPS // 2
        resumed = run.run_inside()
        assert resumed.weights_digest == whole.weights_digest
        assert (resumed.first_loss, resumed.last_loss) == (whole.first_loss, whole.last_loss)

    def test_sigterm_saves_within_the_grace_and_the_next_attempt_ends_in_equal_weights(
        self, stage: StageMaker, undisturbed: Any
    ) -> None:
        run = stage(LONG, rows=long_rows())
        process = run.start()
        run.wait_for_step(LONG_STEPS // 3, process)
        process.send_signal(signal.SIGTERM)
        stopped = run.finish(process)
        assert (stopped.result, stopped.class_) == ("ended", "preempted")
        assert process.returncode == EXIT_CODES["preempted"]
        assert run.commit().step == stopped.step > 0
        outcome = run.run()
        assert outcome.result == "trained", outcome
        assert [event.step for event in run.steps()] == list(range(stopped.step + 1, LONG_STEPS + 1))
        assert outcome.weights_digest == undisturbed.weights_digest
        assert (outcome.first_loss, outcome.last_loss) == (undisturbed.first_loss, undisturbed.last_loss)

    def test_sigkill_at_any_moment_loses_no_commit_and_changes_no_bit(
        self, stage: StageMaker, undisturbed: Any
    ) -> None:
        seed = int(os.environ.get("LONGHAUL_TEST_SEED", secrets.randbits(32)))
        print(f"LONGHAUL_TEST_SEED={seed}")
        random = Random(seed)
        run = stage(LONG, rows=long_rows())
        for step in sorted(random.sample(range(1, LONG_STEPS), 2)):
            process = run.start()
            run.wait_for_step(step, process)
            time.sleep(random.random() * 0.1)
            run.kill(process)
        before = run.head().commit
        outcome = run.run()
        assert outcome.result == "trained", outcome
        committed = before.step if before is not None else 0
        assert [event.step for event in run.steps()] == list(range(committed + 1, LONG_STEPS + 1))
        assert outcome.weights_digest == undisturbed.weights_digest
