"""Whole training jobs for tests: datasets, model folders and stages in the store, and the wrapper run as a process."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from transformers.models.llama.configuration_llama import LlamaConfig

from longhaul_trainer.checkpoint.resume import load_commit
from longhaul_trainer.contracts import (
    AttemptFile,
    DatasetManifest,
    DatasetRef,
    EventFile,
    Head,
    HeadCommit,
    ModelRef,
    Outcome,
    StepEvent,
    TrainSpec,
    dump,
    now,
    parse,
)
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import Stopped
from longhaul_trainer.model.config import config_json, json_bytes
from longhaul_trainer.model.export import model_files
from longhaul_trainer.model.llama import build_model
from longhaul_trainer.process.job import Job
from longhaul_trainer.process.outcome import Trained
from longhaul_trainer.store.artifacts import publish_model
from longhaul_trainer.store.client import Store, sha256_digest
from longhaul_trainer.train.inputs import fetch_inputs
from longhaul_trainer.train.stage import Stage
from longhaul_trainer.train.train import run as run_train
from protocol_support import claim, commit_of, head_of
from trainer_support import small_config

REPOSITORY = Path(__file__).resolve().parents[3]
TOKENIZER = REPOSITORY / "models" / "base-tiny"
RECIPE = sha256_digest(b"recipe")
LENGTH, ROWS, STEPS = 128, 4, 6
"""Tokens of a row, rows of a step and steps of the stages that tests make."""

# --- datasets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """One row: `tokens` [T], half-open document bounds, `mask` [T] for chats."""

    tokens: np.ndarray
    bounds: Sequence[tuple[int, int]]
    mask: np.ndarray | None = None


def samples(
    rows: int, length: int, vocabulary: int = 64, documents: int = 1, masked: bool = False, seed: int = 0
) -> list[Sample]:
    """Rows of noise with something to learn in it: every token but a fifth is its predecessor plus one."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        steps = np.where(random.random(length) < 0.2, random.integers(0, vocabulary, length), 1)
        cuts = sorted({0, length, *random.integers(1, length, documents - 1).tolist()})
        mask = (random.random(length) < 0.5).astype(np.uint8) if masked else None
        made.append(Sample(np.cumsum(steps) % vocabulary, list(pairwise(cuts)), mask))
    return made


def mds_shard(rows: Sequence[Sample]) -> bytes:
    """An MDS shard as mosaicml-streaming writes it, with or without a mask column."""
    names = ["domain", "indices", "input_ids", *(["mask"] if rows[0].mask is not None else [])]
    types = {"domain": "str", "indices": "ndarray:uint32", "input_ids": "ndarray:uint32", "mask": "ndarray:uint8"}
    header = json.dumps(
        {
            "column_encodings": [types[name] for name in names],
            "column_names": names,
            "column_sizes": [None] * len(names),
            "compression": None,
            "format": "mds",
            "hashes": [],
            "size_limit": 2**26,
            "version": 2,
        }
    ).encode()
    encoded = [_row(row) for row in rows]
    start = 4 * (len(rows) + 2) + len(header)
    offsets = np.cumsum([start, *(len(row) for row in encoded)]).astype(np.uint32)
    return np.uint32(len(rows)).tobytes() + offsets.tobytes() + header + b"".join(encoded)


def _row(row: Sample) -> bytes:
    columns = [b"text", _array(np.asarray(row.bounds, np.uint32)), _array(row.tokens.astype(np.uint32))]
    if row.mask is not None:
        columns.append(_array(row.mask))
    return np.array([len(column) for column in columns], np.uint32).tobytes() + b"".join(columns)


def _array(values: np.ndarray) -> bytes:
    shape = np.array(values.shape, np.uint32)
    return bytes([values.ndim << 2 | 2]) + shape.tobytes() + values.tobytes()


def publish_dataset(
    store: Store, prefix: str, rows: Sequence[Sample], vocabulary: int = 64, shards: int = 2
) -> DatasetRef:
    """Shards and manifest at `prefix`, rows spread over the shards in order."""
    length = len(rows[0].tokens)
    per_shard = -(-len(rows) // shards)
    entries: list[dict[str, object]] = []
    for first in range(0, len(rows), per_shard):
        part = rows[first : first + per_shard]
        data, file = mds_shard(part), f"shard.{len(entries):05d}.mds"
        store.put(f"{prefix}/{file}", data)
        entries.append(
            {
                "file": file,
                "bytes": len(data),
                "sha256": sha256_digest(data),
                "firstRow": first,
                "rows": len(part),
                "rowDomains": [0] * len(part),
                "rowSumSquares": [sum((end - start) ** 2 for start, end in row.bounds) for row in part],
            }
        )
    manifest = {
        "schema": "longhaul.dataset/1",
        "name": "test",
        "sequenceLengthTokens": length,
        "rows": len(rows),
        "tokens": len(rows) * length,
        "hasMask": rows[0].mask is not None,
        "tokenizerDigest": sha256_digest((TOKENIZER / "tokenizer.json").read_bytes()),
        "vocabularySize": vocabulary,
        "seed": 0,
        "domains": [
            {"name": "text", "rows": len(rows), "documents": len(rows), "passes": 1.0, "untrainedDocuments": 0}
        ],
        "sources": [],
        "shards": entries,
    }
    data = dump(DatasetManifest.model_validate(manifest))
    store.put(f"{prefix}/manifest.json", data)
    return DatasetRef(manifest_url=f"{prefix}/manifest.json", digest=sha256_digest(data))


# --- models -----------------------------------------------------------------------------------------------------------


def publish_small_model(
    store: Store, prefix: str, config: LlamaConfig, spoil: Callable[[dict[str, torch.Tensor]], object]
) -> ModelRef:
    """A model folder with random weights, changed by `spoil`, and the shipped tokenizer."""
    torch.manual_seed(7)
    model = build_model(config)
    with torch.no_grad():
        spoil(dict(model.named_parameters()))
    return publish_model(store, prefix, model_files(model, TOKENIZER), "base")


def publish_folder(store: Store, prefix: str, folder: Path) -> ModelRef:
    """A model folder on disk, as it is."""
    names = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    return publish_model(store, prefix, {name: (folder / name).read_bytes() for name in names}, "base")


# --- stages -----------------------------------------------------------------------------------------------------------


def set_paths(spec: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`spec` with values replaced by dotted path: {"data.steps": 4}."""
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = spec
        for key in parents:
            place = place[key]
        place[last] = value
    return spec


def spec_of(
    url: str, initialize: dict[str, Any], config: bytes, store: Store, tokenizer: ModelRef, data: dict[str, Any]
) -> dict[str, Any]:
    """A training spec as JSON, config.json stored beside it. `data`: dataset, sequence length, batch, steps."""
    store.put(f"{url}/config.json", config)
    total = data["globalBatchTokens"] * data["steps"]
    return {
        "schema": "longhaul.job-spec/1",
        "kind": "train",
        "run": "r",
        "stage": url.rsplit("/", 1)[1],
        "stageUrl": url,
        "recipeDigest": RECIPE,
        "runtime": {"device": "cpu", "precision": "float32", "strict": True, "threads": 1},
        "events": {"flushSeconds": 0.05, "flushBytes": 1048576},
        "initialize": initialize,
        "config": {"url": f"{url}/config.json", "digest": sha256_digest(config)},
        "tokenizer": tokenizer.model_dump(mode="json"),
        "data": {"documentMasking": True, **data},
        "objective": "all-tokens",
        "optimizer": {"beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weightDecay": 0.1, "clipNorm": 1.0},
        "schedule": {"peak": 1e-2, "floor": 1e-3, "warmupTokens": total // 10, "totalTokens": total},
        "seed": 0,
        "checkpoints": {"everySteps": 2, "keepLast": 3, "keepEvery": 0},
    }


def launch(urls: StageUrls, epoch: int, grace_seconds: float = 20.0, **environment: str) -> subprocess.Popen[bytes]:
    """Launches the wrapper for an attempt at the stage's stored spec, as a process group of its own."""
    variables = {
        "LONGHAUL_SPEC_URL": urls.spec,
        "LONGHAUL_EPOCH": str(epoch),
        "LONGHAUL_GRACE_SECONDS": str(grace_seconds),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "longhaul_trainer"],
        env={**os.environ, **variables, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def switch_off(process: subprocess.Popen[bytes]) -> None:
    """What a machine that is switched off does: the whole process group is gone at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@contextmanager
def numerics_restored() -> Iterator[None]:
    """A job sets threads and determinism for its process; other tests of this process keep their own."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)


@dataclass
class StageRun:
    """A stage in the store: launches attempts at it as processes, and reads what they leave."""

    store: Store
    spec: dict[str, Any]
    terms: dict[str, Any] = field(default_factory=dict)
    """What attempt.json says of every attempt (`skipSteps`, ...); empty: there is none."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.urls = StageUrls(self.spec["stageUrl"])
        self.write_spec()

    def write_spec(self) -> None:
        """Stores the spec as it is now."""
        self.store.put(self.urls.spec, dump(self.spec_model()))

    def change(self, changes: Mapping[str, Any]) -> None:
        """Changes the spec, which a control plane never does."""
        set_paths(self.spec, changes)
        self.write_spec()

    def spec_model(self) -> TrainSpec:
        return TrainSpec.model_validate(self.spec)

    def claim(self) -> int:
        """What the control plane does before a launch: the next epoch, and its attempt.json."""
        epoch = claim(self.store, self.urls)
        if self.terms:
            said = {"skipSteps": [], "meanSecondsBetweenInterruptions": None, **self.terms}
            commit = self.head().commit
            file = AttemptFile.model_validate(
                {
                    "schema": "longhaul.attempt/1",
                    "epoch": epoch,
                    "owner": "test",
                    "startedFrom": None if commit is None else commit.model_dump(by_alias=True),
                    "createdAt": now(),
                    **said,
                }
            )
            self.store.create(self.urls.attempt_file(epoch), dump(file))
        return epoch

    def start(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        grace_seconds: float = 20.0,
        epoch: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Claims the next epoch, unless one is given, and launches the wrapper for it. `environment`: besides this one's."""
        process = launch(self.urls, self.claim() if epoch is None else epoch, grace_seconds, **(environment or {}))
        self.processes.append(process)
        return process

    def run(self) -> Any:
        """One attempt to its end; its outcome. Prints the attempt's output, which pytest shows of a test that fails."""
        return self.finish(self.start())

    def run_inside(self, stop_after: int | None = None) -> Trained:
        """One attempt inside this process, without the wrapper. Raises what the job raises.

        `stop_after`: the step after which it is asked to stop.
        """
        with self._job() as job:
            done = job.step_done

            def step_done(event: StepEvent) -> None:
                done(event)
                if event.step == stop_after:
                    job.request_stop(Stopped("stopped by the test"))

            with mock.patch.object(job, "step_done", step_done):
                return run_train(self.spec_model(), job)

    def load_inside(self, scratch: Path) -> Stage:
        """An attempt that has loaded and not yet taken a step."""
        with self._job() as job:
            spec = self.spec_model()
            stage = Stage(spec, job, scratch)
            stage.load(fetch_inputs(spec, job, scratch))
            return stage

    @contextmanager
    def _job(self) -> Iterator[Job]:
        job = Job(self.spec_model(), self.claim(), self.store, grace_seconds=20)
        job.events.start()
        try:
            with numerics_restored():
                yield job
        finally:
            assert job.events.close(20)

    def run_quietly(self) -> Any:
        """One attempt to its end; its outcome."""
        self.start().communicate(timeout=3600)
        return self.outcome(self.epoch())

    def finish(self, process: subprocess.Popen[bytes], epoch: int | None = None) -> Any:
        """Waits for an attempt, the latest unless its epoch is given, and returns its outcome."""
        output, _ = process.communicate(timeout=600)
        print(output.decode(errors="replace"))
        return self.outcome(self.epoch() if epoch is None else epoch)

    def epoch(self) -> int:
        """The epoch last claimed."""
        return int(json.loads(self.store.get(self.urls.head).data)["epoch"])

    def outcome(self, epoch: int) -> Any:
        return parse(Outcome, self.store.get(self.urls.outcome(epoch)).data)

    def head(self) -> Head:
        return head_of(self.store, self.urls)

    def commit(self) -> HeadCommit:
        return commit_of(self.store, self.urls)

    def tensors(self, file: str) -> dict[str, torch.Tensor]:
        """A safetensors file of the newest checkpoint."""
        restored, problems = load_commit(self.store, self.urls, self.commit(), None)
        assert restored is not None, problems
        data = restored.files[file]
        assert isinstance(data, memoryview)
        return load_tensors(bytes(data))

    def config_of(self, model: ModelRef) -> dict[str, Any]:
        """config.json of an export."""
        config: dict[str, Any] = json.loads(self.store.get(f"{model.url}/config.json").data)
        return config

    def events(self, epoch: int | None = None) -> list[Any]:
        prefix = f"{self.urls.attempt(self.epoch() if epoch is None else epoch)}/events"
        return [
            event
            for item in self.store.list(prefix)
            for event in parse(EventFile, self.store.get(item.url).data).events
        ]

    def steps(self, epoch: int | None = None) -> list[Any]:
        return [event for event in self.events(epoch) if event.type == "step"]

    def wait_for_step(self, step: int, process: subprocess.Popen[bytes]) -> None:
        """Until the attempt has reported `step`, or has ended."""
        until = time.monotonic() + 600
        while process.poll() is None and time.monotonic() < until:
            if any(event.step >= step for event in self.steps()):
                return
            time.sleep(0.02)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """As `switch_off`."""
        switch_off(process)

    def end(self) -> None:
        """Leaves no process behind."""
        for process in self.processes:
            if process.poll() is None:
                self.kill(process)


StageMaker = Callable[..., StageRun]


def make_stage(
    store: Store,
    prefix: str,
    changes: Mapping[str, Any] | None = None,
    *,
    rows: Sequence[Sample] | None = None,
    initialize: dict[str, Any] | None = None,
    config: LlamaConfig | None = None,
    vocabulary: int = 64,
    shards: int = 2,
    spoil: Callable[[dict[str, torch.Tensor]], object] = lambda weights: None,
) -> StageRun:
    """A stage of the small model with its own model, data and config.

    `changes`: values of the spec by dotted path, `{"data.steps": 4}`. `initialize`: instead of the small model.
    """
    url = f"{prefix}/runs/{secrets.token_hex(4)}/stages/01-stage"
    config = config or small_config(length=LENGTH)
    model = publish_small_model(store, f"{url}-model", config, spoil)
    rows = rows if rows is not None else samples(ROWS * STEPS, LENGTH, documents=3)
    data = {
        "dataset": publish_dataset(store, f"{url}-data", rows, vocabulary, shards).model_dump(
            mode="json", by_alias=True
        ),
        "sequenceLengthTokens": LENGTH,
        "globalBatchTokens": ROWS * LENGTH,
        "steps": STEPS,
    }
    start = initialize or {"from": "model", "model": model.model_dump(mode="json")}
    spec = spec_of(url, start, json_bytes(config_json(config)), store, model, data)
    return StageRun(store, set_paths(spec, changes or {}))


def from_checkpoint(run: StageRun, moments: str) -> dict[str, Any]:
    """`initialize` of a stage that starts from the newest checkpoint of `run`."""
    commit = run.commit()
    checkpoint = {"stageUrl": run.urls.url, "commit": commit.id, "manifestDigest": commit.manifest_digest}
    return {"from": "checkpoint", "checkpoint": checkpoint, "moments": moments}


def trained_tokens(row: Sample) -> int:
    """Masked-in tokens that have a predecessor in their document, counted one by one."""
    assert row.mask is not None
    return sum(int(row.mask[at]) for start, end in row.bounds for at in range(start + 1, end))
