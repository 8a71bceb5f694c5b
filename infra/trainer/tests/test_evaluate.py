"""Evaluation jobs against a real S3 server: what is measured, that no sample is measured twice, what is refused."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import S3Server
from job_support import launch, switch_off
from longhaul_base_model.tokenizer import save_tokenizer, train_tokenizer
from longhaul_trainer.contracts import (
    DatasetManifest,
    DatasetRef,
    EvaluatedOutcome,
    EvaluateSpec,
    EvaluationResults,
    KvRecallTask,
    ModelRef,
    NeedleTask,
    Outcome,
    RecallRecord,
    dump,
    now,
    parse,
)
from longhaul_trainer.errors import DataFailure, Stopped, UserFailure
from longhaul_trainer.evaluate import evaluate, measure, records
from longhaul_trainer.evaluate.generate import token_losses
from longhaul_trainer.evaluate.recall import Prompt
from longhaul_trainer.model.export import model_files
from longhaul_trainer.process.job import Job
from longhaul_trainer.process.outcome import Evaluated
from longhaul_trainer.store.artifacts import publish_model
from longhaul_trainer.store.client import Store, sha256_digest
from protocol_support import RECIPE, claim
from s3_proxy import PASS, RESET, Proxy, Request, Verdict, nth, proxy_before
from trainer_support import small_model

LENGTH = 192
TEXT = [
    "it was a dark and stormy night; the rain fell in torrents\n" * 8,
    '{\n"name":"52",\n"at":"07"\n}\n"name":"52"\n' * 8,
]


@dataclass(frozen=True)
class World:
    """A store with a model and a held-out dataset in it."""

    store: Store
    prefix: str
    model: ModelRef
    dataset: DatasetRef

    def spec(self, **changes: Any) -> EvaluateSpec:
        """Two targets, all tasks."""
        recall = {"lengthTokens": LENGTH, "depths": [0.0, 0.5, 1.0], "contexts": 2, "seed": 7}
        data = self.dataset.model_dump(mode="json")
        model = self.model.model_dump(mode="json")
        spec = {
            "schema": "longhaul.job-spec/1",
            "run": "r",
            "stage": "01-evaluation",
            "stageUrl": f"{self.prefix}/stages/01-evaluation",
            "recipeDigest": RECIPE,
            "runtime": {"device": "cpu", "precision": "float32", "strict": True, "threads": 1},
            "events": {"flushSeconds": 60, "flushBytes": 1_000_000},
            "kind": "evaluate",
            "targets": [{"name": "base", "model": model}, {"name": "base-theta", "model": model, "ropeTheta": 9e4}],
            "tasks": [
                {"task": "kv-recall", **recall},
                {"task": "needle", **recall, "haystack": data},
                {
                    "task": "held-out-loss",
                    "lengthTokens": LENGTH,
                    "dataset": data,
                    "rows": 3,
                    "bucketEdges": [32, 64],
                },
            ],
        }
        return parse(EvaluateSpec, json.dumps(spec | changes).encode())

    def job(self, spec: EvaluateSpec) -> Job:
        """A job of a fresh epoch."""
        job = Job(spec, 1, self.store, grace_seconds=10)
        claim(self.store, job.urls)
        return job

    def results(self, job: Job) -> EvaluationResults:
        return parse(EvaluationResults, self.store.get(job.urls.results).data)


def mds(rows: list[np.ndarray]) -> bytes:
    """An MDS shard of rows that hold one document each."""
    encodings = ["str", "ndarray:uint32", "ndarray:uint32"]
    config = json.dumps(
        {
            "format": "mds",
            "compression": None,
            "column_names": ["domain", "indices", "input_ids"],
            "column_encodings": encodings,
            "column_sizes": [None] * 3,
        }
    ).encode()
    bodies = []
    for row in rows:
        bounds = struct.pack("<B2B", (2 << 2) | 0, 1, 2) + struct.pack("<2I", 0, len(row))
        tokens = struct.pack("<BI", (1 << 2) | 2, len(row)) + row.astype("<u4").tobytes()
        columns = [b"books", bounds, tokens]
        bodies.append(struct.pack("<3I", *map(len, columns)) + b"".join(columns))
    at = 4 * (len(rows) + 2) + len(config)
    offsets = [at]
    for body in bodies:
        offsets.append(offsets[-1] + len(body))
    return struct.pack(f"<{len(rows) + 2}I", len(rows), *offsets) + config + b"".join(bodies)


def publish_dataset(store: Store, prefix: str, vocabulary: int) -> DatasetRef:
    rng = np.random.default_rng(3)
    rows = [np.concatenate([[0], rng.integers(5, vocabulary, LENGTH - 1)]) for _ in range(3)]
    data = mds(rows)
    shard = {
        "file": "shard.00000.mds",
        "bytes": len(data),
        "sha256": sha256_digest(data),
        "firstRow": 0,
        "rows": 3,
        "rowDomains": [0] * 3,
        "rowSumSquares": [LENGTH**2] * 3,
    }
    manifest = {
        "schema": "longhaul.dataset/1",
        "name": "held-out",
        "sequenceLengthTokens": LENGTH,
        "rows": 3,
        "tokens": 3 * LENGTH,
        "hasMask": False,
        "tokenizerDigest": RECIPE,
        "vocabularySize": vocabulary,
        "seed": 0,
        "domains": [{"name": "books", "rows": 3, "documents": 3, "passes": 1.0, "untrainedDocuments": 0}],
        "sources": [],
        "shards": [shard],
    }
    text = dump(parse(DatasetManifest, json.dumps(manifest).encode()))
    store.put(f"{prefix}/held-out/shard.00000.mds", data)
    store.put(f"{prefix}/held-out/manifest.json", text)
    return DatasetRef(manifest_url=f"{prefix}/held-out/manifest.json", digest=sha256_digest(text))


@pytest.fixture
def world(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> World:
    store = Store.from_environment()
    tokenizer = train_tokenizer(TEXT, 300)
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(tokenizer, folder, LENGTH)
    vocabulary = tokenizer.get_vocab_size()
    model = small_model(vocabulary=vocabulary, length=LENGTH)
    ref = publish_model(store, f"{prefix}/models/base", model_files(model, folder), "base")
    return World(store, prefix, ref, publish_dataset(store, prefix, vocabulary))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Samples that were measured, in order."""
    seen: list[str] = []
    for unit in (measure.RecallUnit, measure.LossUnit):
        original = unit.measure

        def counting(self: Any, *arguments: Any, original: Any = original) -> Iterator[Any]:
            for record in original(self, *arguments):
                seen.append(f"{record.target} {record.sample}")
                yield record

        monkeypatch.setattr(unit, "measure", counting)
    yield seen


def without_times(data: bytes) -> bytes:
    return re.sub(rb'"finishedAt":"[^"]*"', b"", data)


SAMPLES = 2 * (2 * 3 + 2 * 3 + 3)


class TestResults:
    def test_hold_a_record_of_every_sample_of_every_target(self, world: World) -> None:
        job = world.job(spec := world.spec())
        outcome = evaluate.run(spec, job)
        data = world.store.get(job.urls.results).data
        assert outcome == Evaluated(samples=SAMPLES, reused_samples=0, results_digest=sha256_digest(data))
        results = world.results(job)
        assert [(target.name, target.rope_theta) for target in results.targets] == [("base", 1e4), ("base-theta", 9e4)]
        order = [(r.target, r.task, r.length_tokens, r.sample) for r in results.records]
        assert order == sorted(order) and len(set(order)) == SAMPLES

    def test_give_every_model_the_same_samples_and_prompts(self, world: World) -> None:
        job = world.job(spec := world.spec())
        evaluate.run(spec, job)
        prompts: dict[str, dict[str, str]] = {}
        for record in world.results(job).records:
            digest = getattr(record, "prompt_digest", "")
            prompts.setdefault(record.target, {})[record.sample] = digest
        assert prompts["base"] == prompts["base-theta"]

    def test_changing_only_theta_changes_what_the_model_says(self, world: World) -> None:
        job = world.job(spec := world.spec())
        evaluate.run(spec, job)
        answers: dict[str, list[float]] = {"base": [], "base-theta": []}
        for record in world.results(job).records:
            if record.task != "held-out-loss":
                answers[record.target].append(record.answer_log_probability)
        assert answers["base"] != answers["base-theta"]

    def test_every_prompt_fills_its_length_or_says_why(self, world: World) -> None:
        job = world.job(spec := world.spec())
        evaluate.run(spec, job)
        recall = [record for record in world.results(job).records if record.task != "held-out-loss"]
        assert len(recall) == 2 * 2 * 2 * 3
        for record in recall:
            filled = record.prompt_tokens + record.answer_tokens
            assert filled <= LENGTH
            assert (filled < 0.97 * LENGTH) == (record.shortfall is not None)

    @pytest.mark.parametrize("task", ["kv_recall_prompts", "needle_prompts"])
    def test_a_prompt_that_leaves_its_length_empty_is_refused(
        self, world: World, monkeypatch: pytest.MonkeyPatch, task: str
    ) -> None:
        original = getattr(measure, task)

        def shorter(encoder: Any, task: KvRecallTask | NeedleTask, *arguments: Any) -> list[Prompt]:
            less = task.model_copy(update={"length_tokens": task.length_tokens * 3 // 4})
            return [replace(prompt, shortfall=None) for prompt in original(encoder, less, *arguments)]

        monkeypatch.setattr(measure, task, shorter)
        spec = world.spec()
        with pytest.raises(UserFailure, match=f"less than 97% of {LENGTH}, and nothing says why"):
            evaluate.run(spec, world.job(spec))

    def test_loss_buckets_add_up_to_the_plain_loss(self, world: World) -> None:
        job = world.job(spec := world.spec())
        evaluate.run(spec, job)
        subject = evaluate.load_subject(spec, spec.targets[0], world.store)
        rows = evaluate._row_reader(world.store)
        losses = [r for r in world.results(job).records if r.task == "held-out-loss" and r.target == "base"]
        for index, record in enumerate(losses):
            tokens = torch.tensor([rows(world.dataset, index).tokens])
            plain = float(token_losses(subject.model, tokens, "float32").double().sum())
            assert sum(bucket.loss_sum for bucket in record.buckets) == pytest.approx(plain, abs=1e-3)
            assert [(b.from_, b.to, b.tokens) for b in record.buckets] == [(0, 32, 31), (32, 64, 32), (64, LENGTH, 128)]


class TestResuming:
    def test_a_stopped_evaluation_repeats_no_sample_and_ends_in_the_same_results(
        self, world: World, counted: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        undisturbed = world.job(whole := world.spec(stageUrl=f"{world.prefix}/stages/02-other"))
        evaluate.run(whole, undisturbed)
        counted.clear()

        job = world.job(spec := world.spec())
        original = job.check
        checks = iter(range(100))

        def stop_half_way() -> None:
            original()
            if next(checks) == 8:
                job.request_stop(Stopped("stopped by SIGTERM"))

        monkeypatch.setattr(job, "check", stop_half_way)
        with pytest.raises(Stopped) as stopped:
            evaluate.run(spec, job)
        assert stopped.value.failure_class == "preempted"
        first = len(counted)
        assert 0 < first < SAMPLES

        again = Job(spec, 2, Store.from_environment(), grace_seconds=10)
        outcome = evaluate.run(spec, again)
        assert (outcome.samples, outcome.reused_samples) == (SAMPLES, first)
        assert len(counted) == len(set(counted)) == SAMPLES
        expected = without_times(world.store.get(undisturbed.urls.results).data)
        assert without_times(world.store.get(again.urls.results).data) == expected

    def test_only_missing_questions_of_a_context_are_asked(self, world: World, counted: list[str]) -> None:
        job = world.job(spec := world.spec())
        evaluate.run(spec, job)
        before = {(r.target, r.sample): r for r in world.results(job).records}
        lost = next(info.url for info in world.store.list(f"{job.urls.url}/records") if "kv-recall" in info.url)
        world.store.delete([lost])
        counted.clear()
        outcome = evaluate.run(spec, world.job(spec))
        assert outcome.reused_samples == SAMPLES - 1
        assert len(counted) == 1
        for record in world.results(job).records:
            old = before[(record.target, record.sample)]
            if isinstance(record, RecallRecord):
                assert isinstance(old, RecallRecord)
                assert record.output == old.output
                assert record.answer_log_probability == pytest.approx(old.answer_log_probability, abs=1e-4)
            else:
                assert record == old

    def test_more_contexts_extend_what_is_there_and_other_settings_do_not_reuse_it(self, world: World) -> None:
        evaluate.run(spec := world.spec(), world.job(spec))
        recall = {"task": "kv-recall", "lengthTokens": LENGTH, "depths": [0.0, 0.5, 1.0], "seed": 7}
        more = world.spec(tasks=[{**recall, "contexts": 3}])
        assert evaluate.run(more, world.job(more)).reused_samples == 12
        other = world.spec(tasks=[{**recall, "contexts": 2, "seed": 8}])
        assert evaluate.run(other, world.job(other)).reused_samples == 0

    def test_a_record_that_another_attempt_wrote_first_is_the_one_that_counts(self, world: World) -> None:
        job = world.job(spec := world.spec())
        evaluate.run(spec, job)
        record = world.results(job).records[0]
        with records.records_of(world.store, job.urls) as written:
            written.write(record.model_copy(update={"finished_at": now()}))
            assert written.gather([(record.key, record.sample)]) == [record]


@pytest.fixture
def launched() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes of a test, of which none outlives it."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            switch_off(process)


def record_written(request: Request) -> bool:
    return request.method == "PUT" and "/records/" in request.key


def writes(file: str) -> Callable[[Request], bool]:
    return lambda request: request.method == "PUT" and request.key.endswith(file)


class KillingProxy:
    """Lets requests to the store through until the one that a process is killed at: it and all after it are lost."""

    def __init__(self, proxy: Proxy, at: Callable[[Request], bool]) -> None:
        self.proxy, self.killed = proxy, threading.Event()
        self.stored: list[str] = []
        self._at, self._lock, self._over, self._passed = at, threading.Lock(), False, 0
        proxy.rule, proxy.afterwards = self._rule, self._note
        self.kill: Callable[[], None] = lambda: None

    def quiet(self) -> bool:
        """Whether every record that was let through is stored."""
        return len(self.stored) == self._passed

    def open(self) -> None:
        """From now on everything passes."""
        self.proxy.rule = self._pass

    def _rule(self, request: Request) -> Verdict:
        with self._lock:
            if self._over:
                return RESET
            self._over = self._at(request)
            if not self._over:
                return self._pass(request)
        self.kill()
        self.killed.set()
        return RESET

    def _pass(self, request: Request) -> Verdict:
        self._passed += record_written(request)
        return PASS

    def _note(self, request: Request) -> None:
        if record_written(request):
            self.stored.append(request.key)


class TestAnAttemptThatIsKilled:
    """SIGKILL of everything at once. The next attempt measures what has no record, and ends in the same scores."""

    @pytest.mark.parametrize(
        ("count", "matches", "recorded"),
        [
            (1, record_written, 0),
            (8, record_written, 7),
            (1, writes("/results.json"), SAMPLES),
            (1, writes("/outcome.json"), SAMPLES),
        ],
        ids=["at its first record", "in the middle", "before the results", "before the outcome"],
    )
    def test_loses_only_what_is_not_yet_recorded(
        self,
        world: World,
        s3_server: S3Server,
        launched: list[subprocess.Popen[bytes]],
        count: int,
        matches: Callable[[Request], bool],
        recorded: int,
    ) -> None:
        undisturbed = world.job(whole := world.spec(stageUrl=f"{world.prefix}/stages/02-other"))
        evaluate.run(whole, undisturbed)
        job = world.job(spec := world.spec())
        world.store.put(job.urls.spec, dump(spec))
        with proxy_before(s3_server.endpoint) as proxy:
            killing = KillingProxy(proxy, nth(count, matches))
            first = launch(job.urls, 1, LONGHAUL_S3_ENDPOINT=proxy.endpoint)
            launched.append(first)
            killing.kill = lambda: switch_off(first)
            assert killing.killed.wait(300)
            while not killing.quiet():
                time.sleep(0.01)
            before = {info.url: world.store.get(info.url).data for info in world.store.list(f"{job.urls.url}/records")}
            assert len(before) == recorded
            killing.open()
            second = launch(job.urls, claim(world.store, job.urls), LONGHAUL_S3_ENDPOINT=proxy.endpoint)
            launched.append(second)
            print(second.communicate(timeout=600)[0].decode(errors="replace"))

        outcome = parse(Outcome, world.store.get(job.urls.outcome(2)).data)
        assert isinstance(outcome, EvaluatedOutcome), outcome
        assert (outcome.samples, outcome.reused_samples) == (SAMPLES, recorded)
        assert len(killing.stored) == len(set(killing.stored)) == SAMPLES
        assert {url: world.store.get(url).data for url in before} == before
        self.same_scores(world.results(job), world.results(undisturbed))

    def same_scores(self, results: EvaluationResults, expected: EvaluationResults) -> None:
        """What is asked again of half a context is asked in another batch, which changes a probability's last digits."""
        assert len(results.records) == len(expected.records) == SAMPLES
        for record, other in zip(results.records, expected.records, strict=True):
            close: dict[str, object] = {"finished_at": other.finished_at}
            if isinstance(record, RecallRecord):
                assert isinstance(other, RecallRecord)
                assert record.answer_log_probability == pytest.approx(other.answer_log_probability, abs=1e-4)
                close["answer_log_probability"] = other.answer_log_probability
            assert record.model_copy(update=close) == other


class TestRefusals:
    def test_a_corrupt_model_file_is_refused(self, world: World) -> None:
        url = f"{world.model.url}/model.safetensors"
        data = bytearray(world.store.get(url).data)
        data[-1] ^= 1
        world.store.put(url, bytes(data))
        job = world.job(spec := world.spec())
        with pytest.raises(UserFailure, match=r"model\.safetensors: bytes .* do not match their digest"):
            evaluate.run(spec, job)

    def test_a_dataset_with_too_few_rows_is_refused(self, world: World) -> None:
        job = world.job(spec := world.spec(tasks=[{
            "task": "held-out-loss",
            "lengthTokens": LENGTH,
            "dataset": world.dataset.model_dump(mode="json"),
            "rows": 4,
            "bucketEdges": [32],
        }]))  # fmt: skip
        with pytest.raises(DataFailure, match="has no row 3"):
            evaluate.run(spec, job)


class TestEncoder:
    def test_a_tokenizer_that_was_saved_while_it_cut_texts_cuts_no_prompt(self, tmp_path: Path) -> None:
        tokenizer = train_tokenizer(TEXT, 300)
        whole = tokenizer.encode(" ".join(TEXT), add_special_tokens=False).ids
        tokenizer.enable_truncation(4)
        tokenizer.enable_padding(length=4096)
        save_tokenizer(tokenizer, tmp_path, LENGTH)
        assert evaluate._read_encoder(tmp_path).encode(" ".join(TEXT)) == whole
