"""``events.ts``: what a job reports while it runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from longhaul_trainer.contracts.base import (
    CommitId,
    Contract,
    Digest,
    Epoch,
    Instant,
    Natural,
    NonNegative,
    Number,
    Positive,
    Sparse,
)

JobPhase = Literal["import", "load", "first-step", "step", "save", "evaluate", "export"]
LogLevel = Literal["info", "warning", "error"]


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


class CommitEvent(Sparse):
    """A checkpoint was committed. ``manifest_digest`` is left out of the JSON when None."""

    type: Literal["commit"]
    at: Instant
    commit: CommitId
    step: Natural
    tokens: Natural
    bytes: Natural
    stall_seconds: NonNegative
    seconds: NonNegative
    manifest_digest: Digest | None = None


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
    level: LogLevel
    message: str


JobEvent = Annotated[PhaseEvent | StepEvent | CommitEvent | SampleEvent | LogEvent, Field(discriminator="type")]


class EventFile(Contract):
    """``attempts/<epoch>/events/<nnnnnn>.json``, numbered from 1 without gaps."""

    schema_: Literal["longhaul.events/1"] = Field(alias="schema")
    epoch: Epoch
    index: Positive
    events: Annotated[list[JobEvent], Field(min_length=1)]
