"""Evaluation jobs: recall and held-out loss of one or more models, one durable record per sample.

An attempt starts from the records that are there and measures what is missing; `results.json` gathers all of them at
the end. What is measured and what it means: docs/evaluation.md.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers.models.llama.configuration_llama import LlamaConfig

from longhaul_trainer.contracts import (
    DatasetRef,
    EvaluateSpec,
    EvaluationResults,
    EvaluationTarget,
    ModelManifest,
    ResultTarget,
    SampleEvent,
    dump,
    now,
)
from longhaul_trainer.data.dataset import Dataset
from longhaul_trainer.errors import UserFailure
from longhaul_trainer.evaluate.measure import Row, RowReader, Subject, TextEncoder, Unit, units_of
from longhaul_trainer.evaluate.records import Records, Task, record_key, records_of
from longhaul_trainer.model.config import read_config, rope_parameters, rope_theta
from longhaul_trainer.model.export import CONFIG
from longhaul_trainer.model.llama import build_model
from longhaul_trainer.model.numerics import configure, fingerprint
from longhaul_trainer.model.weights import load_model_weights
from longhaul_trainer.process.job import Job
from longhaul_trainer.process.outcome import Evaluated
from longhaul_trainer.store.artifacts import fetch_model, read_contract
from longhaul_trainer.store.client import Store, sha256_digest
from longhaul_trainer.store.transfers import download_all

ROWS_KEPT = 64
"""Rows of datasets kept in memory."""


@dataclass(frozen=True)
class Work:
    """A unit that is still to do for a target: its key and the samples without a record."""

    task: Task
    unit: Unit
    key: str
    wanted: set[str]


def run(spec: EvaluateSpec, job: Job) -> Evaluated:
    """Measure every sample that has no record yet, then write `results.json`.

    Raises Stopped on request, once the context in hand is recorded.
    """
    configure(spec.runtime, seed=0)
    job.set_fingerprint(fingerprint(spec.runtime, micro_batch_rows=1))
    job.phase("load")
    with records_of(job.store, job.urls) as records:
        rows = _row_reader(job.store)
        progress = _Progress(spec, job, records)
        for target in spec.targets:
            work = _work(spec, target, records)
            if work:
                _evaluate(spec, target, work, job, records, rows, progress)
        records.drain()
        progress.report()
        return _finish(spec, job, records, progress.reused)


class _Progress:
    """How many samples of the job have a record."""

    def __init__(self, spec: EvaluateSpec, job: Job, records: Records) -> None:
        wanted = [(key, unit) for target in spec.targets for _, unit, key in _units(spec, target)]
        self.total = sum(len(unit.samples) for _, unit in wanted)
        self.reused = sum(len(records.finished(key, unit.samples)) for key, unit in wanted)
        self._job, self._records = job, records
        self._last = ("", "")

    def report(self, target: str = "", task: str = "") -> None:
        """One event; without arguments, about the target and task before."""
        self._last = (target or self._last[0], task or self._last[1])
        done = self.reused + self._records.settle()
        event = SampleEvent(
            type="sample", at=now(), target=self._last[0], task=self._last[1], done=done, total=self.total
        )
        self._job.events.emit(event)


def _units(spec: EvaluateSpec, target: EvaluationTarget) -> Iterator[tuple[Task, Unit, str]]:
    for task in spec.tasks:
        key = record_key(target, task, spec.runtime)
        for unit in units_of(task):
            yield task, unit, key


def _work(spec: EvaluateSpec, target: EvaluationTarget, records: Records) -> list[Work]:
    work = [
        Work(task, unit, key, set(unit.samples) - records.finished(key, unit.samples))
        for task, unit, key in _units(spec, target)
    ]
    return [item for item in work if item.wanted]


def _evaluate(
    spec: EvaluateSpec,
    target: EvaluationTarget,
    work: list[Work],
    job: Job,
    records: Records,
    rows: RowReader,
    progress: _Progress,
) -> None:
    job.phase("load")
    subject = load_subject(spec, target, job.store)
    job.phase("evaluate")
    for item in work:
        job.check()
        if job.stop_requested:
            records.drain()
            raise job.stopped()
        for record in item.unit.measure(subject, item.key, item.wanted, rows):
            records.write(record)
        progress.report(target.name, item.task.task)


def _row_reader(store: Store) -> RowReader:
    """Reads rows; what was read lately is kept, because every target reads the same rows."""
    datasets: dict[str, Dataset] = {}

    @lru_cache(maxsize=ROWS_KEPT)
    def read(ref: DatasetRef, index: int) -> Row:
        if ref.digest not in datasets:
            datasets[ref.digest] = Dataset(store, ref)
        row = datasets[ref.digest].row(index)
        return Row(row.tokens.tolist(), row.bounds)

    return read


def load_subject(spec: EvaluateSpec, target: EvaluationTarget, store: Store) -> Subject:
    """A target's model, verified and in memory, its RoPE base changed if the target says so.

    Raises UserFailure when files are missing, corrupt or not a Llama model with a tokenizer.
    """
    device = torch.device(spec.runtime.device)
    with tempfile.TemporaryDirectory(prefix="longhaul-model-") as folder:
        fetched = fetch_model(store, target.model, Path(folder))
        try:
            config = read_config((fetched.path / CONFIG).read_bytes())
            _override(config, target)
            model = build_model(config, device, initialize=False)
            load_model_weights(fetched.path, fetched.files, model)
            encoder = _read_encoder(fetched.path)
        except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
            raise UserFailure(f"{target.model.url} is not a model folder: {error}") from error
    return Subject(target.name, model.eval(), encoder, spec.runtime.precision)


def _override(config: LlamaConfig, target: EvaluationTarget) -> None:
    """The target's own RoPE base, scaling and length, where it has them: all weights stay as they are."""
    if target.rope_scaling == "drop":
        config.rope_parameters = {"rope_type": "default", "rope_theta": rope_theta(config)}
    if target.rope_theta is not None:
        config.rope_parameters = {**rope_parameters(config), "rope_theta": target.rope_theta}
    if target.max_position_embeddings is not None:
        config.max_position_embeddings = target.max_position_embeddings


def _read_encoder(folder: Path) -> TextEncoder:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()  # how somebody called it before saving it
    tokenizer.no_padding()
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    begin = settings.get("bos_token")
    text = begin.get("content") if isinstance(begin, dict) else begin
    return TextEncoder(tokenizer, None if text is None else tokenizer.token_to_id(text))


def _finish(spec: EvaluateSpec, job: Job, records: Records, reused: int) -> Evaluated:
    """Write `results.json`: a function of the records alone, so that writing it again changes nothing."""
    names = {
        (key, sample) for target in spec.targets for _, unit, key in _units(spec, target) for sample in unit.samples
    }
    gathered = records.gather(sorted(names))
    gathered.sort(key=lambda record: (record.target, record.task, record.length_tokens, record.sample))
    targets = [
        ResultTarget(name=target.name, model_digest=target.model.digest, rope_theta=_theta(target, job.store))
        for target in spec.targets
    ]
    results = EvaluationResults(schema_="longhaul.results/1", targets=targets, records=gathered)
    data = dump(results, compact=True)
    job.store.put(job.urls.results, data)
    return Evaluated(samples=len(gathered), reused_samples=reused, results_digest=sha256_digest(data))


def _theta(target: EvaluationTarget, store: Store) -> float:
    """The RoPE base that a target is evaluated with."""
    if target.rope_theta is not None:
        return target.rope_theta
    url = f"{target.model.url}/manifest.json"
    manifest = read_contract(store, url, target.model.digest, ModelManifest, UserFailure)
    files = [file for file in manifest.files if file.path == CONFIG]
    contents, problems = download_all(store, target.model.url, files)
    config = contents.get(CONFIG)
    if problems or not isinstance(config, memoryview):
        raise UserFailure(f"{target.model.url}: no readable {CONFIG}")
    return rope_theta(read_config(bytes(config)))
