"""A training stage: from its inputs through its steps and saves to the exported model.

Every step is a pure function of the weights, the moments and the rows
that come next, so an attempt that resumes from a commit goes on as if nothing had happened.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError
from transformers.models.llama.configuration_llama import LlamaConfig

from longhaul_trainer.checkpoint.attempt import AttemptTerms
from longhaul_trainer.checkpoint.interval import SaveSchedule
from longhaul_trainer.checkpoint.manager import CheckpointManager, Snapshot
from longhaul_trainer.checkpoint.resume import Restored
from longhaul_trainer.checkpoint.state import (
    COUNTERS,
    MOMENTS,
    Counters,
    copy_tensors,
    counters_bytes,
    load_counters,
    load_moments,
    load_weights,
)
from longhaul_trainer.contracts import (
    HeadCommit,
    InitializeFromCheckpoint,
    InitializeFromModel,
    StepEvent,
    TrainSpec,
    now,
)
from longhaul_trainer.errors import CheckpointFailure, DataFailure, NumericsFailure, StoreError, UserFailure
from longhaul_trainer.model.config import read_config
from longhaul_trainer.model.export import companion_files
from longhaul_trainer.model.llama import build_model
from longhaul_trainer.model.numerics import configure, fingerprint
from longhaul_trainer.model.parameters import WEIGHTS, tensor_file, weights_digest
from longhaul_trainer.model.weights import load_model_weights, weight_files
from longhaul_trainer.process.job import Job
from longhaul_trainer.process.outcome import Trained
from longhaul_trainer.store.artifacts import ModelFolder, publish_model
from longhaul_trainer.train.batches import make_micro_batch
from longhaul_trainer.train.inputs import Inputs, rows_per_step
from longhaul_trainer.train.optim import adamw, learning_rate
from longhaul_trainer.train.step import LossMean, MicroBatch, StepInterrupted, StepResult, loss_limit, train_step

MICRO_BATCH_TOKENS = 16_384
"""Most tokens of a micro-batch, unless one row has more. It decides how sums are cut, so it is in the fingerprint."""


class Stage:
    """One attempt at a training stage: its model, optimizer, data and counters."""

    def __init__(self, spec: TrainSpec, job: Job, scratch: Path) -> None:
        self.spec, self.job, self.scratch = spec, job, scratch
        self.rows_per_step = rows_per_step(spec)
        self.micro_batch_rows = max(1, MICRO_BATCH_TOKENS // spec.data.sequence_length_tokens)
        self.counters = Counters(0, 0, 0)
        self.committed_step = -1
        self.put_off = False
        self.terms = AttemptTerms()

    # --- load ---

    def load(self, inputs: Inputs) -> None:
        """Model, optimizer and counters: from this stage's newest commit, else from what the spec starts from."""
        spec, job = self.spec, self.job
        self.terms, self.dataset = inputs.terms, inputs.dataset
        self.device = configure(spec.runtime, spec.seed)
        facts = fingerprint(spec.runtime, self.micro_batch_rows)
        self.manager: CheckpointManager = job.checkpoint_manager(spec, fingerprint=facts)
        self.model = build_model(_fitting_config(spec, inputs), self.device, initialize=False)
        self.model.train()
        self.companions = _companions(spec, self.model.config, inputs)
        self.optimizer = adamw(self.model.named_parameters(), spec.optimizer)
        match inputs:
            case Inputs(restored=Restored() as restored):
                self._resume(restored)
            case Inputs(start=Restored() as restored):
                self._begin_from_checkpoint(restored)
            case Inputs(start=ModelFolder() as folder):
                self._begin_from_model(folder)
            case _:
                raise CheckpointFailure("there is nothing to start from")

    def _resume(self, restored: Restored) -> None:
        self.manager.follow(restored)
        with reading_state(restored.commit):
            folder = _folder_of(restored)
            load_weights(folder, self.model)
            load_moments(folder, self.model, self.optimizer)
            self.counters = load_counters(folder)
        manifest = restored.manifest
        if (self.counters.step, self.counters.next_sample) != (manifest.step, manifest.data_position.next_sample):
            raise CheckpointFailure(f"checkpoint {restored.commit.id}: its counters and its manifest disagree")
        problem = self.terms.contradiction(self.counters.step, self.counters.skipped)
        if problem:
            self.job.warn(f"checkpoint {restored.commit.id} is not of this attempt's terms: {problem}")
        self.committed_step = self.counters.step
        self.job.set_progress(self.counters.step, self.counters.tokens)

    def _begin_from_checkpoint(self, restored: Restored) -> None:
        with reading_state(restored.commit):
            load_weights(_folder_of(restored), self.model)
            start = self.spec.initialize
            if isinstance(start, InitializeFromCheckpoint) and start.moments == "carry":
                load_moments(_folder_of(restored), self.model, self.optimizer)

    def _begin_from_model(self, folder: ModelFolder) -> None:
        try:
            load_model_weights(folder.path, folder.files, self.model)
        except (KeyError, RuntimeError, OSError, ValueError, SafetensorError) as error:
            start = self.spec.initialize
            name = start.model.url if isinstance(start, InitializeFromModel) else "the stage's start"
            raise UserFailure(f"model {name}: {error}") from error

    # --- train ---

    def train(self) -> None:
        """Takes the steps that are left, saving as the spec's policy says."""
        try:
            self._take_steps()
        except (DataFailure, NumericsFailure):
            # Neither spoils what was saved before: a commit that is almost made is worth waiting for.
            with self.job.measure("save"), suppress(StoreError):
                self.manager.wait()
            raise

    def _take_steps(self) -> None:
        spec, job = self.spec, self.job
        schedule = SaveSchedule(spec.checkpoints, spec.data.steps, self.terms.mean_seconds_between_interruptions)
        job.phase("first-step")
        due = False
        while self.counters.step < spec.data.steps:
            started = time.monotonic()
            saving = self.manager.saving
            try:
                taken = self._advance(started)
            except StepInterrupted:
                job.save_before_stopping(self.manager, self._unsaved)
                raise job.stopped() from None
            if taken:
                schedule.step_done(time.monotonic() - started, saving=saving)
            job.check()
            due = due or schedule.due(self.counters.step, self.manager.save_seconds)
            if due and self._can_save():
                schedule.saved(self._save())
                due = False
        if self.committed_step != self.counters.step:
            self._save()

    def _advance(self, started: float) -> bool:
        """Consumes the next step's rows: takes an optimizer step, or leaves it out (False) as the attempt's terms say."""
        spec, before = self.spec, self.counters
        if self.job.stop_requested:
            raise StepInterrupted
        tokens = before.tokens + spec.data.global_batch_tokens
        counted = before.tokens if spec.schedule.rate_at == "step-start" else tokens
        rate = learning_rate(spec.schedule, counted)
        taken = self._step(rate)
        self.counters = Counters(
            step=before.step + 1,
            tokens=tokens,
            next_sample=before.next_sample + self.rows_per_step,
            losses=[*before.losses, taken.loss] if taken else before.losses,
            skipped=before.skipped if taken else [*before.skipped, before.step + 1],
            valid_tokens=before.valid_tokens + (taken.valid_tokens if taken else 0),
        )
        # A step left out learned from no token. It has no loss of its own; the newest one keeps curves from falling to 0.
        result = taken or StepResult(before.losses[-1] if before.losses else 0.0, valid_tokens=0, gradient_norm=0.0)
        self.job.step_done(
            StepEvent(
                type="step",
                at=now(),
                step=self.counters.step,
                tokens=tokens,
                loss=result.loss,
                valid_tokens=result.valid_tokens,
                learning_rate=rate,
                gradient_norm=result.gradient_norm,
                seconds=time.monotonic() - started,
            )
        )
        return taken is not None

    def _step(self, rate: float) -> StepResult | None:
        """One optimizer step; None when it is left out: its rows are not even read, whatever is wrong with them."""
        spec, before = self.spec, self.counters
        window = self.terms.window_of(before.step + 1)
        if window is not None:
            if before.step + 1 == window.first or not before.skipped or before.skipped[-1] != before.step:
                self.job.warn(
                    f"steps {before.step + 1} to {window.last} are left out: their rows count as consumed, weights stay"
                )
            return None
        micro_batches = list(self._micro_batches(before.next_sample))
        with naming_rows(before.next_sample, self.rows_per_step):
            return train_step(
                self.model,
                self.optimizer,
                micro_batches,
                rate,
                spec.optimizer.clip_norm,
                spec.runtime.precision,
                interrupted=lambda: self.job.stop_requested,
                loss_limit=loss_limit(spec.numerics, before.losses),
                mean=LossMean(spec.loss_mean or "tokens", before.valid_tokens, len(before.losses) * self.rows_per_step),
            )

    def _micro_batches(self, first: int) -> Iterator[MicroBatch]:
        """The step's rows, in order, cut into micro-batches."""
        end = first + self.rows_per_step
        for start in range(first, end, self.micro_batch_rows):
            rows = [self.dataset.row(index) for index in range(start, min(end, start + self.micro_batch_rows))]
            yield make_micro_batch(
                rows,
                document_masking=self.spec.data.document_masking,
                masked_objective=self.spec.objective == "masked-tokens",
                device=self.device,
            )

    # --- save ---

    def _can_save(self) -> bool:
        """Whether to save now; not while an earlier save waits for a store in trouble, but as soon as it is through."""
        with self.job.measure("save"):
            ready = self.manager.ready(interrupted=lambda: self.job.stop_requested)
        if self.job.stop_requested:
            return False  # whether another save fits is decided on stopping
        if not ready and not self.put_off:
            self.job.events.log("the store is in trouble: training goes on, the next save is put off")
        self.put_off = not ready
        return ready

    def _save(self) -> float:
        """Begins a save; returns the seconds for which training stood still."""
        started = time.monotonic()
        with self.job.measure("save"):
            stall = self.manager.save(self._snapshot(), stall_started=started)
        self.committed_step = self.counters.step
        return stall

    def _unsaved(self) -> Snapshot | None:
        return None if self.counters.step in (0, self.committed_step) else self._snapshot()

    def _snapshot(self) -> Snapshot:
        weights, moments = copy_tensors(self.model, self.optimizer)
        counters = self.counters
        return Snapshot(
            step=counters.step,
            tokens=counters.tokens,
            next_sample=counters.next_sample,
            files={
                WEIGHTS: lambda: tensor_file(weights),
                MOMENTS: lambda: tensor_file(moments),
                COUNTERS: counters_bytes(counters),
            },
            weights_digest=lambda: weights_digest(weights),
        )

    # --- finish ---

    def finish(self) -> Trained:
        """The last commit made, the model published."""
        with self.job.measure("save"):
            commit = self.manager.wait()
        if commit is None or commit.step != self.spec.data.steps:
            raise CheckpointFailure(f"the last commit is {commit}, not of step {self.spec.data.steps}")
        self.job.phase("export")
        model = publish_model(
            self.job.store,
            self.job.urls.export(commit.id),
            {**self.companions, **weight_files(self.model, self.spec.weight_type)},
            origin=f"{self.spec.stage_url} {commit.id}",
        )
        losses = self.counters.losses
        tenth = max(1, len(losses) // 10)
        return Trained(
            commit=commit,
            model=model,
            weights_digest=weights_digest(dict(self.model.named_parameters())),
            first_loss=sum(losses[:tenth]) / tenth,
            last_loss=sum(losses[-tenth:]) / tenth,
        )


def _fitting_config(spec: TrainSpec, inputs: Inputs) -> LlamaConfig:
    """The stage's config. Raises UserFailure when it is none, or doesn't fit the data."""
    try:
        config = read_config(inputs.config)
    except ValueError as error:
        raise UserFailure(f"{spec.config.url}: {error}") from None
    inputs.dataset.require(
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
    return config


def _companions(spec: TrainSpec, config: LlamaConfig, inputs: Inputs) -> dict[str, bytes]:
    """The export's files beside its weights, made before the first step: what is wrong with them isn't found after the last.

    Raises UserFailure.
    """
    try:
        return companion_files(config, inputs.tokenizer, spec.weight_type)
    except (ValueError, KeyError, TypeError) as error:
        raise UserFailure(f"tokenizer {spec.tokenizer.url}: {error}") from error


@contextmanager
def reading_state(commit: HeadCommit) -> Iterator[None]:
    """What can't be read of a verified checkpoint is a CheckpointFailure."""
    try:
        yield
    except (KeyError, RuntimeError, OSError, TypeError, ValueError) as error:
        raise CheckpointFailure(f"checkpoint {commit.id} doesn't fit this stage: {error}") from error


@contextmanager
def naming_rows(first: int, rows: int) -> Iterator[None]:
    """What is wrong with a step's data is said of its rows, by their place in the dataset."""
    try:
        yield
    except DataFailure as error:
        raise DataFailure(f"rows {first} to {first + rows - 1}: {error}") from error


def _folder_of(restored: Restored) -> Path:
    path = restored.files[WEIGHTS]
    if not isinstance(path, Path):
        raise TypeError("expected a checkpoint loaded into a folder")
    return path.parent
