"""What a training attempt reads from the store before its first step, fetched while PyTorch is being imported."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from .artifacts import fetch_model, read_verified
from .attempt import AttemptTerms, read_attempt
from .config import LlamaConfig, read_config
from .contracts import ConfigRef, InitializeFromCheckpoint, TrainSpec
from .data import Dataset
from .errors import UserFailure
from .job import Job
from .resume import Restored, Resumption, load_checkpoint
from .store import Store


@dataclass(frozen=True)
class Inputs:
    """Verified, and on this machine.

    `restored`: the stage's newest checkpoint; None: nothing was committed yet, and `start` is what the stage starts
    from, another stage's checkpoint or the folder of a model.
    """

    terms: AttemptTerms
    config: LlamaConfig
    dataset: Dataset
    restored: Restored | None
    start: Restored | Path | None


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
    """Reads, verifies and judges all that a stage starts from.

    Raises UserFailure (an input is missing, isn't what the spec says, or doesn't fit the others), DataFailure,
    CheckpointFailure, Fenced, StoreError.
    """
    store = job.store
    terms = read_attempt(store, job.urls, job.epoch)
    config = _read_config(store, spec.config)
    dataset = Dataset(store, spec.data.dataset)
    dataset.require(
        length=spec.data.sequence_length_tokens,
        rows=spec.data.steps * rows_per_step(spec),
        vocabulary=config.vocab_size,
        masked=spec.objective == "masked-tokens",
    )
    if spec.data.sequence_length_tokens > config.max_position_embeddings:
        raise UserFailure(
            f"rows of {spec.data.sequence_length_tokens} tokens, but the config's max_position_embeddings is "
            f"{config.max_position_embeddings}"
        )
    search = Resumption(store, job.urls, job.guard, spec.recipe_digest, spec.data.dataset.digest, job.warn)
    restored = search.newest(folder / "resume")
    dataset.fetch_ahead(restored.manifest.data_position.next_sample if restored is not None else 0)
    return Inputs(terms, config, dataset, restored, None if restored is not None else _start(spec, store, folder))


def _start(spec: TrainSpec, store: Store, folder: Path) -> Restored | Path:
    start = spec.initialize
    if isinstance(start, InitializeFromCheckpoint):
        return load_checkpoint(store, start.checkpoint, folder / "initial")
    return fetch_model(store, start.model, folder / "model")


def _read_config(store: Store, ref: ConfigRef) -> LlamaConfig:
    try:
        return read_config(read_verified(store, ref.url, ref.digest))
    except ValueError as error:
        raise UserFailure(f"{ref.url}: {error}") from None


def rows_per_step(spec: TrainSpec) -> int:
    """Rows of a global batch. Raises UserFailure when it is no whole number."""
    rows, rest = divmod(spec.data.global_batch_tokens, spec.data.sequence_length_tokens)
    if rest:
        raise UserFailure(
            f"globalBatchTokens {spec.data.global_batch_tokens} is not a whole number of rows of "
            f"{spec.data.sequence_length_tokens} tokens"
        )
    return rows
