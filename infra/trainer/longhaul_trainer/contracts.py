"""The contracts of ``src/contracts/*.ts`` as pydantic models: what crosses the border to the control plane.

Field names are snake case here and camel case in JSON (``stage_url`` and ``stageUrl``); a trailing underscore avoids
a Python keyword or a pydantic name (``class_``, ``from_``, ``schema_``). Unknown keys, missing keys and values of
another type are errors. ``parse`` reads JSON bytes, ``dump`` writes them; the conformance suite holds both languages to
the same fixtures.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    field_validator,
    model_serializer,
)
from pydantic import ValidationError as _PydanticValidationError
from pydantic.alias_generators import to_camel

PART_BYTES = 64 * 1024 * 1024
"""Part size for hashing and transfer, bytes."""

HEAD_ANCESTORS = 64
"""Most earlier commits that ``HEAD`` names."""

_SAFE = 2**53 - 1  # JavaScript's largest exact integer; zod's int() refuses more


class ContractError(ValueError):
    """JSON that breaks a contract. The message lists every problem with its path, ``$.commit.step: ...``."""


class Contract(BaseModel):
    """Base of every contract: strict types, no unknown keys, camel-case JSON, immutable."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        defer_build=True,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
    )


def _instant(value: str) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value, re.ASCII) is None:
        raise ValueError("expected ISO 8601 in UTC with milliseconds")
    datetime.fromisoformat(value.replace("Z", "+00:00"))
    return value


Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""``sha256:<64 lower-case hex digits>``."""
ObjectUrl = Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]+/.*[^/]$")]
"""``s3://bucket/key``, no trailing slash."""
Instant = Annotated[str, AfterValidator(_instant)]
"""ISO 8601, UTC, milliseconds."""
CommitId = Annotated[str, Field(pattern=r"^[0-9]{8}-[0-9]{4,}-[0-9a-f]{8}$")]
"""``<step>-<epoch>-<nonce>``."""
Text = Annotated[str, Field(min_length=1)]
Natural = Annotated[int, Field(ge=0, le=_SAFE)]
Positive = Annotated[int, Field(gt=0, le=_SAFE)]
Number = float
NonNegative = Annotated[float, Field(ge=0)]
PositiveNumber = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Epoch = Natural
FailureClass = Literal[
    "preempted",
    "capacity",
    "infrastructure",
    "store",
    "hang",
    "data",
    "checkpoint",
    "numerics",
    "out-of-memory",
    "walltime",
    "fenced",
    "cancelled",
    "user-error",
    "unknown",
]
Fingerprint = dict[str, str | bool | int | float]
"""Numerics fingerprint: what decides whether two attempts can be bit-identical."""

EXIT_CODES: dict[str, int] = {
    "done": 0,
    "user-error": 64,
    "data": 65,
    "checkpoint": 66,
    "numerics": 67,
    "out-of-memory": 68,
    "store": 69,
    "infrastructure": 70,
    "hang": 71,
    "walltime": 72,
    "capacity": 73,
    "preempted": 75,
    "fenced": 76,
    "cancelled": 77,
    "unknown": 1,
}
"""Exit code of the wrapper for each way to end."""


# --- common.ts --------------------------------------------------------------------------------------------------------


class DatasetRef(Contract):
    """A curated dataset: its manifest and that manifest's digest."""

    manifest_url: ObjectUrl
    digest: Digest


class ModelRef(Contract):
    """A Hugging Face model folder with a ``manifest.json`` beside its files."""

    url: ObjectUrl
    digest: Digest


class CheckpointRef(Contract):
    """One committed checkpoint of a training stage."""

    stage_url: ObjectUrl
    commit: CommitId
    manifest_digest: Digest


class Part(Contract):
    """One contiguous part of a file; 64 MiB but for the last."""

    offset: Natural
    bytes: Natural
    sha256: Digest


class StoredFile(Contract):
    """A stored file: name below the manifest's prefix, size, digests of its parts in order of offset."""

    path: Text
    bytes: Natural
    parts: Annotated[list[Part], Field(min_length=1)]


class ModelManifest(Contract):
    """``manifest.json`` of a model folder: every file but this manifest, sorted by path."""

    schema_: Literal["longhaul.model/1"] = Field(alias="schema")
    files: Annotated[list[StoredFile], Field(min_length=1)]
    origin: str


# --- checkpoint.ts ----------------------------------------------------------------------------------------------------


class HeadCommit(Contract):
    """What a committed ``HEAD`` points at."""

    id: CommitId
    step: Natural
    tokens: Natural
    manifest_digest: Digest


class Head(Contract):
    """``HEAD`` of a stage, moved only by conditional PUT."""

    schema_: Literal["longhaul.head/1"] = Field(alias="schema")
    epoch: Epoch
    owner: str
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    commit: HeadCommit | None
    ancestors: Annotated[list[HeadCommit], Field(max_length=HEAD_ANCESTORS)]
    updated_at: Instant


class DataPosition(Contract):
    """Where in its dataset a checkpoint stands: ``next_sample`` is the index of the next row to consume."""

    dataset_digest: Digest
    next_sample: Natural


class Topology(Contract):
    """Ranks of an attempt."""

    world_size: Positive
    ranks_per_node: Positive


class CheckpointManifest(Contract):
    """``checkpoints/<id>/manifest.json``, written after every file it names."""

    schema_: Literal["longhaul.checkpoint/1"] = Field(alias="schema")
    id: CommitId
    epoch: Epoch
    parent: CommitId | None
    step: Natural
    tokens: Natural
    data_position: DataPosition
    recipe_digest: Digest
    topology: Topology
    fingerprint: Fingerprint
    files: Annotated[list[StoredFile], Field(min_length=1)]
    root_digest: Digest
    weights_digest: Digest
    created_at: Instant


class Quarantine(Contract):
    """``checkpoints/<id>/quarantine.json``: marks a checkpoint found corrupt."""

    schema_: Literal["longhaul.quarantine/1"] = Field(alias="schema")
    id: CommitId
    epoch: Epoch
    problems: Annotated[list[str], Field(min_length=1)]
    found_at: Instant


class Pin(Contract):
    """``checkpoints/<id>/pins/<name>.json``: keeps a checkpoint from retention."""

    schema_: Literal["longhaul.pin/1"] = Field(alias="schema")
    id: CommitId
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    reason: Text
    pinned_at: Instant


class RunOwner(Contract):
    """``owner.json`` of a run prefix: which namespace and recipe own it."""

    schema_: Literal["longhaul.run-owner/1"] = Field(alias="schema")
    namespace: Text
    workflow_id: Text
    recipe_digest: Digest
    run_url: ObjectUrl
    created_at: Instant


class Lease(Contract):
    """``lease.json`` of a stage: a trainer that *reads* an expired lease stops."""

    schema_: Literal["longhaul.lease/1"] = Field(alias="schema")
    epoch: Epoch
    expires_at: Instant


# --- dataset.ts -------------------------------------------------------------------------------------------------------


class Shard(Contract):
    """One MDS shard and, per row, its domain and Σ document length²."""

    file: Text
    bytes: Positive
    sha256: Digest
    first_row: Natural
    rows: Positive
    row_domains: list[Natural]
    row_sum_squares: list[Positive]


class BadFile(Contract):
    """A source file that was refused, and why."""

    path: str
    problem: str


class SourceCount(Contract):
    """Where text came from and what was refused."""

    source: Text
    files: Natural
    documents: Natural
    tokens: Natural
    held_out_documents: Natural
    bad_files: list[BadFile]


class Domain(Contract):
    """One domain of a dataset; ``passes`` is how often its text was gone through."""

    name: Text
    rows: Natural
    documents: Natural
    passes: NonNegative


class DatasetManifest(Contract):
    """``datasets/<name>@<digest>/manifest.json``. Rows lie in the order of consumption: row i is sample i."""

    schema_: Literal["longhaul.dataset/1"] = Field(alias="schema")
    name: Text
    sequence_length_tokens: Positive
    rows: Positive
    tokens: Positive
    has_mask: bool
    tokenizer_digest: Digest
    vocabulary_size: Positive
    seed: Natural
    domains: list[Domain]
    sources: list[SourceCount]
    shards: Annotated[list[Shard], Field(min_length=1)]


# --- job-spec.ts ------------------------------------------------------------------------------------------------------


class Runtime(Contract):
    """What decides the numerics."""

    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    strict: bool
    threads: Positive


class EventLimits(Contract):
    """Longest time between two event files, and their largest size."""

    flush_seconds: PositiveNumber
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


class Optimizer(Contract):
    """AdamW and gradient clipping."""

    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    epsilon: PositiveNumber
    weight_decay: NonNegative
    clip_norm: PositiveNumber


class Schedule(Contract):
    """Linear warm-up, then a cosine from peak to floor, by tokens consumed."""

    peak: PositiveNumber
    floor: NonNegative
    warmup_tokens: Natural
    total_tokens: Positive


class CheckpointPolicy(Contract):
    """When to save, and what retention keeps."""

    every_steps: Positive
    keep_last: Positive
    keep_every: Natural


class TrainSpec(_JobSpec):
    """A training job: continued training or SFT."""

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


class EvaluationTarget(Contract):
    """A model to evaluate, maybe with its RoPE base changed. The two overrides are left out of the JSON when None."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    model: ModelRef
    rope_theta: PositiveNumber | None = None
    max_position_embeddings: Positive | None = None

    @field_validator("rope_theta", "max_position_embeddings", mode="before")
    @classmethod
    def _absent_not_null(cls, value: object) -> object:
        if value is None:
            raise ValueError("leave the key out instead of null")
        return value

    @model_serializer(mode="wrap")
    def _leave_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class EvaluateSpec(_JobSpec):
    """An evaluation job."""

    kind: Literal["evaluate"]
    targets: Annotated[list[EvaluationTarget], Field(min_length=1)]
    tasks: Annotated[list[EvaluationTask], Field(min_length=1)]


JobSpec = Annotated[TrainSpec | EvaluateSpec, Field(discriminator="kind")]


# --- events.ts --------------------------------------------------------------------------------------------------------

JobPhase = Literal["import", "load", "first-step", "step", "save", "evaluate", "export"]


class PhaseEvent(Contract):
    """A job entered a phase."""

    type: Literal["phase"]
    at: Instant
    phase: JobPhase


class StepEvent(Contract):
    """An optimizer step was done. ``loss`` in nats over the step's valid tokens; ``gradient_norm`` before clipping."""

    type: Literal["step"]
    at: Instant
    step: Positive
    tokens: Positive
    loss: Number
    valid_tokens: Natural
    learning_rate: Number
    gradient_norm: Number
    seconds: NonNegative


class CommitEvent(Contract):
    """A checkpoint was committed."""

    type: Literal["commit"]
    at: Instant
    commit: CommitId
    step: Natural
    tokens: Natural
    bytes: Natural
    stall_seconds: NonNegative
    seconds: NonNegative


class SampleEvent(Contract):
    """An evaluation sample was finished; ``done`` of ``total`` in the whole job."""

    type: Literal["sample"]
    at: Instant
    target: str
    task: str
    done: Natural
    total: Positive


class LogEvent(Contract):
    """A line for the operator."""

    type: Literal["log"]
    at: Instant
    level: Literal["info", "warning", "error"]
    message: str


JobEvent = Annotated[PhaseEvent | StepEvent | CommitEvent | SampleEvent | LogEvent, Field(discriminator="type")]


class EventFile(Contract):
    """``attempts/<epoch>/events/<nnnnnn>.json``, numbered from 1 without gaps."""

    schema_: Literal["longhaul.events/1"] = Field(alias="schema")
    epoch: Epoch
    index: Positive
    events: Annotated[list[JobEvent], Field(min_length=1)]


# --- outcome.ts -------------------------------------------------------------------------------------------------------


class SecondsByLabel(Contract):
    """Seconds of an attempt by what they went into."""

    import_: NonNegative = Field(alias="import")
    load: NonNegative
    first_step: NonNegative
    step: NonNegative
    save: NonNegative
    evaluate: NonNegative
    export: NonNegative


class _Outcome(Contract):
    schema_: Literal["longhaul.outcome/1"] = Field(alias="schema")
    epoch: Epoch
    started_at: Instant
    ended_at: Instant
    seconds: SecondsByLabel
    fingerprint: Fingerprint
    step: Natural
    tokens: Natural


class TrainedOutcome(_Outcome):
    """A training job did all its steps."""

    result: Literal["trained"]
    commit: HeadCommit
    model: ModelRef
    weights_digest: Digest
    first_loss: Number
    last_loss: Number


class EvaluatedOutcome(_Outcome):
    """An evaluation finished every sample."""

    result: Literal["evaluated"]
    samples: Natural
    reused_samples: Natural
    results_digest: Digest


class EndedOutcome(_Outcome):
    """An attempt ended before it was done. ``frames``: innermost last, ``file:function``."""

    result: Literal["ended"]
    class_: FailureClass = Field(alias="class")
    message: str
    exception: str
    frames: list[str]


Outcome = Annotated[TrainedOutcome | EvaluatedOutcome | EndedOutcome, Field(discriminator="result")]


# --- evaluation.ts ----------------------------------------------------------------------------------------------------


class _Record(Contract):
    schema_: Literal["longhaul.record/1"] = Field(alias="schema")
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    sample: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    target: str
    length_tokens: Positive
    finished_at: Instant


class RecallRecord(_Record):
    """One answered recall question. ``answer_log_probability``: sum over the expected answer's tokens, nats."""

    task: Literal["kv-recall", "needle"]
    depth: Fraction
    prompt_tokens: Positive
    prompt_digest: Digest
    expected: str
    output: str
    exact_match: bool
    answer_log_probability: Number
    answer_tokens: Positive


class LossBucket(Contract):
    """Summed loss (nats) over the positions ``from`` ≤ p < ``to``."""

    from_: Natural = Field(alias="from")
    to: Positive
    tokens: Natural
    loss_sum: Number


class HeldOutLossRecord(_Record):
    """Loss by position of one held-out row."""

    task: Literal["held-out-loss"]
    buckets: list[LossBucket]


EvaluationRecord = Annotated[RecallRecord | HeldOutLossRecord, Field(discriminator="task")]


class ResultTarget(Contract):
    """A model that was evaluated."""

    name: str
    model_digest: Digest
    rope_theta: Number


class EvaluationResults(Contract):
    """``results.json``: every record, sorted by target, task, length and sample."""

    schema_: Literal["longhaul.results/1"] = Field(alias="schema")
    targets: list[ResultTarget]
    records: list[EvaluationRecord]


# --- reading and writing ----------------------------------------------------------------------------------------------

CONTRACTS: dict[str, Any] = {
    "checkpoint-manifest": CheckpointManifest,
    "dataset-manifest": DatasetManifest,
    "evaluation-record": EvaluationRecord,
    "evaluation-results": EvaluationResults,
    "event-file": EventFile,
    "head": Head,
    "job-spec": JobSpec,
    "lease": Lease,
    "model-manifest": ModelManifest,
    "outcome": Outcome,
    "pin": Pin,
    "quarantine": Quarantine,
    "run-owner": RunOwner,
}
"""Every contract that is an object in the store, by the name of its JSON Schema and fixtures."""

_adapters: dict[Any, TypeAdapter[Any]] = {}
T = TypeVar("T")


def parse(contract: Any, data: bytes, what: str = "object") -> Any:
    """Read JSON ``data`` as ``contract`` (a class or union of this module).

    Raises ContractError naming ``what`` and every problem with its path.
    """
    adapter = _adapters.get(contract)
    if adapter is None:
        adapter = _adapters[contract] = TypeAdapter(contract)
    try:
        return adapter.validate_json(data, by_alias=True, by_name=False)
    except _PydanticValidationError as error:
        problems = "; ".join(f"{_path(e['loc'])}: {e['msg']}" for e in error.errors(include_url=False))
        raise ContractError(f"{what} is invalid: {problems}") from None


_TAGS = {"train", "evaluate", "model", "checkpoint", "kv-recall", "needle", "held-out-loss"} | {
    "phase", "step", "commit", "sample", "log", "trained", "evaluated", "ended",
}  # fmt: skip


def _path(location: tuple[int | str, ...]) -> str:
    """JSON path of a pydantic error. Pydantic puts a union's tag into the location where the value itself lies."""
    keys: list[int | str] = []
    for index, key in enumerate(location):
        before = location[index - 1] if index else 0
        if not (key in _TAGS and (isinstance(before, int) or before == "initialize")):
            keys.append(key)
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)


def dump(value: Contract, *, compact: bool = False) -> bytes:
    """``value`` as JSON bytes, UTF-8, ending with a newline; on one line if ``compact``. Refuses NaN, infinities."""
    form: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 1}
    return (json.dumps(value.model_dump(mode="json"), ensure_ascii=False, allow_nan=False, **form) + "\n").encode()


def now() -> str:
    """The present as an Instant."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
