"""``outcome.ts``: how an attempt ended, in the trainer's own words."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from longhaul_trainer.contracts.base import Contract, Digest, Epoch, Instant, Natural, NonNegative, Number
from longhaul_trainer.contracts.checkpoint import Fingerprint, HeadCommit
from longhaul_trainer.contracts.common import ModelRef

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
