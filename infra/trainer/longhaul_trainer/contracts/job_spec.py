"""``job-spec.ts``: all a job needs to know."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from longhaul_trainer.contracts.base import (
    Contract,
    Digest,
    Fraction,
    Natural,
    NonNegative,
    ObjectUrl,
    Positive,
    PositiveNumber,
    Sparse,
    Text,
)
from longhaul_trainer.contracts.common import CheckpointRef, DatasetRef, ModelRef


class Runtime(Contract):
    """What decides the numerics."""

    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    strict: bool
    threads: Positive


class EventLimits(Contract):
    """Longest time between two event files, and their largest size."""

    flush_seconds: Annotated[PositiveNumber, Field(le=3600)]
    flush_bytes: Positive


class _JobSpec(Contract):
    schema_: Literal["longhaul.job-spec/1"] = Field(alias="schema")
    run: Text
    stage: Text
    stage_url: ObjectUrl
    recipe_digest: Digest
    runtime: Runtime
    events: EventLimits


class InitializeFromModel(Contract):
    """Weights from a Hugging Face folder; Adam moments are fresh."""

    from_: Literal["model"] = Field(alias="from")
    model: ModelRef


class InitializeFromCheckpoint(Contract):
    """Weights, and with ``carry`` also Adam moments and step count, from another stage's checkpoint."""

    from_: Literal["checkpoint"] = Field(alias="from")
    checkpoint: CheckpointRef
    moments: Literal["carry", "fresh"]


Initialize = Annotated[InitializeFromModel | InitializeFromCheckpoint, Field(discriminator="from_")]


class ConfigRef(Contract):
    """The ``config.json`` to train with."""

    url: ObjectUrl
    digest: Digest


class TrainData(Contract):
    """Which rows a stage consumes. ``steps`` × rows per step ≤ the dataset's rows."""

    dataset: DatasetRef
    sequence_length_tokens: Positive
    global_batch_tokens: Positive
    steps: Positive
    document_masking: bool


class Optimizer(Sparse):
    """AdamW and gradient clipping. ``decay_norms``: norms are decayed as matrices are."""

    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    epsilon: PositiveNumber
    weight_decay: NonNegative
    clip_norm: PositiveNumber
    decay_norms: bool | None = None


class Schedule(Sparse):
    """Linear warm-up, then a cosine from peak to floor, by tokens consumed with a step, or (``step-start``) before it."""

    peak: PositiveNumber
    floor: NonNegative
    warmup_tokens: Natural
    total_tokens: Positive
    rate_at: Literal["step-end", "step-start"] | None = None


def _is_text(value: object) -> str:
    return "str" if isinstance(value, str) else "int"


EverySteps = Annotated[
    Annotated[Positive, Tag("int")] | Annotated[Literal["auto"], Tag("str")], Discriminator(_is_text)
]
"""A number of steps, or as often as measured costs and measured interruptions make best."""


class CheckpointPolicy(Contract):
    """When to save, and what retention keeps."""

    every_steps: EverySteps
    keep_last: Positive
    keep_every: Natural


class Numerics(Contract):
    """When a loss is a spike: above ``spike_factor`` × the median of the ``spike_window_steps`` losses before it."""

    spike_factor: Annotated[float, Field(gt=1)]
    spike_window_steps: Positive


class Export(Contract):
    """How the trained model is published: the element type of its weights."""

    weights: Literal["float32", "bfloat16"]


class TrainSpec(_JobSpec, Sparse):
    """A training job: continued training or SFT. Without ``numerics`` no loss is a spike; without ``export`` weights are
    published as float32; without ``loss_mean`` a step's loss is the mean over its valid tokens."""

    kind: Literal["train"]
    initialize: Initialize
    config: ConfigRef
    tokenizer: ModelRef
    data: TrainData
    objective: Literal["all-tokens", "masked-tokens"]
    optimizer: Optimizer
    schedule: Schedule
    seed: Natural
    checkpoints: CheckpointPolicy
    numerics: Numerics | None = None
    export: Export | None = None
    loss_mean: Literal["tokens", "rows", "running-average"] | None = None

    @property
    def weight_type(self) -> Literal["float32", "bfloat16"]:
        """Element type of the exported weights."""
        return "float32" if self.export is None else self.export.weights


class _RecallTask(Contract):
    length_tokens: Positive
    depths: Annotated[list[Fraction], Field(min_length=1)]
    contexts: Positive
    seed: Natural


class KvRecallTask(_RecallTask):
    """JSON key-value recall: one key of a long object is asked for."""

    task: Literal["kv-recall"]


class NeedleTask(_RecallTask):
    """A fact hidden in held-out text is asked for."""

    task: Literal["needle"]
    haystack: DatasetRef


class HeldOutLossTask(Contract):
    """Loss by position on held-out documents at least as long as the row."""

    task: Literal["held-out-loss"]
    length_tokens: Positive
    dataset: DatasetRef
    rows: Positive
    bucket_edges: Annotated[list[Positive], Field(min_length=1)]


EvaluationTask = Annotated[KvRecallTask | NeedleTask | HeldOutLossTask, Field(discriminator="task")]


class EvaluationTarget(Sparse):
    """A model to evaluate, maybe with its RoPE changed: another base, its scaling dropped, another length."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    model: ModelRef
    rope_theta: PositiveNumber | None = None
    rope_scaling: Literal["drop"] | None = None
    max_position_embeddings: Positive | None = None


class EvaluateSpec(_JobSpec):
    """An evaluation job."""

    kind: Literal["evaluate"]
    targets: Annotated[list[EvaluationTarget], Field(min_length=1)]
    tasks: Annotated[list[EvaluationTask], Field(min_length=1)]


JobSpec = Annotated[TrainSpec | EvaluateSpec, Field(discriminator="kind")]
