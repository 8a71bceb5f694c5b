"""How an attempt ends: what its entry point returned or raised, as the outcome that is written down."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, TypedDict

from longhaul_trainer.contracts import (
    EndedOutcome,
    EvaluatedOutcome,
    FailureClass,
    Fingerprint,
    HeadCommit,
    ModelRef,
    SecondsByLabel,
    TrainedOutcome,
    now,
)
from longhaul_trainer.errors import JobFailure, Stopped


@dataclass(frozen=True)
class Trained:
    """A training job did all its steps. Losses: mean over the first and the last tenth of the stage's steps."""

    commit: HeadCommit
    model: ModelRef
    weights_digest: str
    first_loss: float
    last_loss: float


@dataclass(frozen=True)
class Evaluated:
    """An evaluation finished all samples, ``reused_samples`` of them in an earlier attempt."""

    samples: int
    reused_samples: int
    results_digest: str


@dataclass(frozen=True)
class Progress:
    """How far an attempt got; reported to the wrapper, which needs it when the worker dies without a word."""

    step: int
    tokens: int
    fingerprint: Fingerprint
    seconds: SecondsByLabel


AnyOutcome = TrainedOutcome | EvaluatedOutcome | EndedOutcome


class _Common(TypedDict):
    """The fields that all outcomes share, by the names of the contract's fields."""

    schema_: Literal["longhaul.outcome/1"]
    epoch: int
    started_at: str
    ended_at: str
    seconds: SecondsByLabel
    fingerprint: Fingerprint
    step: int
    tokens: int


@dataclass(frozen=True)
class Attempt:
    """What every outcome of an attempt states."""

    epoch: int
    started_at: str
    progress: Progress

    def common(self) -> _Common:
        """The fields that all outcomes share."""
        return {
            "schema_": "longhaul.outcome/1",
            "epoch": self.epoch,
            "started_at": self.started_at,
            "ended_at": now(),
            "seconds": self.progress.seconds,
            "fingerprint": self.progress.fingerprint,
            "step": self.progress.step,
            "tokens": self.progress.tokens,
        }


def outcome_of(attempt: Attempt, result: Trained | Evaluated | BaseException) -> AnyOutcome:
    """The outcome of what an entry point returned or raised."""
    match result:
        case Trained():
            return TrainedOutcome(
                **attempt.common(),
                result="trained",
                commit=result.commit,
                model=result.model,
                weights_digest=result.weights_digest,
                first_loss=result.first_loss,
                last_loss=result.last_loss,
            )
        case Evaluated():
            return EvaluatedOutcome(
                **attempt.common(),
                result="evaluated",
                samples=result.samples,
                reused_samples=result.reused_samples,
                results_digest=result.results_digest,
            )
        case _:
            kind = type(result)
            name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            frames = _frames(result)
            if isinstance(result, Stopped):
                name, frames = "", []
            return ended(attempt, classify(result), str(result) or name, name, frames)


def ended(
    attempt: Attempt, failure_class: FailureClass, message: str, exception: str = "", frames: list[str] | None = None
) -> EndedOutcome:
    """The outcome of an attempt that ended before it was done."""
    return EndedOutcome(
        **attempt.common(),
        result="ended",
        class_=failure_class,
        message=message[:4000],
        exception=exception,
        frames=frames or [],
    )


_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
_HARDWARE = ("CUDA error", "NCCL error", "ECC error", "HIP error")
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}


def classify(error: BaseException) -> FailureClass:
    """The failure class of an exception: its own word first, then what is known of others, else ``unknown``."""
    if isinstance(error, JobFailure):
        return error.failure_class
    name, text = type(error).__name__, str(error)
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or any(words in text for words in _MEMORY):
        return "out-of-memory"
    if isinstance(error, OSError) and error.errno in _DISK:
        return "infrastructure"
    if name in ("AcceleratorError", "DistBackendError", "DistNetworkError") or any(w in text for w in _HARDWARE):
        return "infrastructure"
    cause = error.__cause__
    return classify(cause) if cause is not None else "unknown"


def _frames(error: BaseException) -> list[str]:
    """``file:function`` of the innermost 30 frames, innermost last."""
    trace = traceback.extract_tb(error.__traceback__)[-30:]
    return [f"{PurePath(frame.filename).name}:{frame.name}" for frame in trace]
