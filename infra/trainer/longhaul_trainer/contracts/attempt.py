"""``attempt.ts``: what the control plane tells one attempt before its launch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from .base import Contract, Epoch, Instant, Positive, PositiveNumber
from .checkpoint import HeadCommit


class StepWindow(Contract):
    """Optimizer steps, both ends included, whose data is consumed and whose update is left out."""

    first: Positive
    last: Positive

    @field_validator("last")
    @classmethod
    def _in_order(cls, last: int, info: ValidationInfo) -> int:
        if last < info.data.get("first", last):
            raise ValueError("last must not be before first")
        return last


class AttemptFile(Contract):
    """``attempts/<epoch>/attempt.json``. ``mean_seconds_between_interruptions``: None where it is not known."""

    schema_: Literal["longhaul.attempt/1"] = Field(alias="schema")
    epoch: Epoch
    owner: str
    started_from: HeadCommit | None
    skip_steps: list[StepWindow]
    mean_seconds_between_interruptions: PositiveNumber | None
    created_at: Instant
