"""What a training attempt reads from the store before its first step, fetched while PyTorch is being imported."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from longhaul_trainer.checkpoint.attempt import AttemptTerms, read_attempt
from longhaul_trainer.checkpoint.resume import Restored, Resumption, load_checkpoint
from longhaul_trainer.contracts import InitializeFromCheckpoint, ModelRef, TrainSpec
from longhaul_trainer.data.dataset import Dataset
from longhaul_trainer.errors import UserFailure
from longhaul_trainer.model.tokenizer_files import REQUIRED, is_tokenizer_file
from longhaul_trainer.process.job import Job
from longhaul_trainer.store.artifacts import ModelFolder, fetch_model, read_verified
from longhaul_trainer.store.client import Store


@dataclass(frozen=True)
class Inputs:
    """Verified, and on this machine.

    `config`: bytes of the model's config.json. `tokenizer`: folder with what an export takes over. `restored`: the stage's
    newest checkpoint; None: nothing was committed yet, and `start` is what the stage starts from, another stage's checkpoint
    or a model.
    """

    terms: AttemptTerms
    config: bytes
    tokenizer: Path
    dataset: Dataset
    restored: Restored | None
    start: Restored | ModelFolder | None


class Fetching:
    """Fetches a stage's inputs in a thread of its own."""

    def __init__(self, spec: TrainSpec, job: Job, folder: Path) -> None:
        """Begins at once. `folder`: where models and checkpoints go."""
        self._job = job
        self._inputs: Future[Inputs] = Future()
        threading.Thread(target=self._run, args=(spec, folder), name="inputs", daemon=True).start()

    def _run(self, spec: TrainSpec, folder: Path) -> None:
        try:
            self._inputs.set_result(fetch_inputs(spec, self._job, folder))
        except BaseException as error:  # handed to the training thread by wait()
            self._inputs.set_exception(error)

    def wait(self) -> Inputs:
        """The inputs, or what fetching them raised; Stopped when the job is to stop, and what `Job.check` raises."""
        done = threading.Event()
        self._inputs.add_done_callback(lambda _: done.set())
        while not done.wait(0.05):
            self._job.check()
            if self._job.stop_requested:
                raise self._job.stopped()
        return self._inputs.result()


def fetch_inputs(spec: TrainSpec, job: Job, folder: Path) -> Inputs:
    """Reads and verifies all that a stage starts from.

    Raises UserFailure (an input is missing, or isn't what the spec says), DataFailure, CheckpointFailure, Fenced,
    StoreError.
    """
    store = job.store
    terms = read_attempt(store, job.urls, job.epoch)
    config = read_verified(store, spec.config.url, spec.config.digest)
    dataset = Dataset(store, spec.data.dataset)
    search = Resumption(store, job.urls, job.guard, spec.recipe_digest, spec.data.dataset.digest, job.warn, terms)
    restored = search.newest(folder / "resume")
    dataset.fetch_ahead(restored.manifest.data_position.next_sample if restored is not None else 0)
    tokenizer = fetch_tokenizer(store, spec.tokenizer, folder / "tokenizer")
    start = None if restored is not None else _start(spec, store, folder)
    return Inputs(terms, config, tokenizer, dataset, restored, start)


def fetch_tokenizer(store: Store, ref: ModelRef, into: Path) -> Path:
    """Downloads what an export takes over from a model folder, and nothing else of it. Raises UserFailure, StoreError."""
    folder = fetch_model(store, ref, into, is_tokenizer_file)
    missing = [name for name in REQUIRED if name not in folder.files]
    if missing:
        raise UserFailure(f"{ref.url} lacks {', '.join(missing)}")
    return folder.path


def _start(spec: TrainSpec, store: Store, folder: Path) -> Restored | ModelFolder:
    start = spec.initialize
    if isinstance(start, InitializeFromCheckpoint):
        return load_checkpoint(store, start.checkpoint, folder / "initial")
    return fetch_model(store, start.model, folder / "model")


def rows_per_step(spec: TrainSpec) -> int:
    """Rows of a global batch. Raises UserFailure when it is no whole number."""
    rows, rest = divmod(spec.data.global_batch_tokens, spec.data.sequence_length_tokens)
    if rest:
        raise UserFailure(
            f"globalBatchTokens {spec.data.global_batch_tokens} is not a whole number of rows of "
            f"{spec.data.sequence_length_tokens} tokens"
        )
    return rows
