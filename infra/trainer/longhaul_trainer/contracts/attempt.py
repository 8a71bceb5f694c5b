"""``attempt.ts``: what the control plane tells one attempt before its launch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationInfo, field_validator, model_serializer

from longhaul_trainer.contracts.base import Contract, Digest, Epoch, Instant, Positive, PositiveNumber, absent_not_null
from longhaul_trainer.contracts.checkpoint import HEAD_ANCESTORS, HeadCommit


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
    """``attempts/<epoch>/attempt.json``. ``mean_seconds_between_interruptions``: None where it is not known;
    ``previous_owner``, ``spec_digest`` and ``ancestors`` are left out of the JSON when None."""

    schema_: Literal["longhaul.attempt/1"] = Field(alias="schema")
    epoch: Epoch
    owner: str
    previous_owner: Annotated[str, Field(min_length=1)] | None = None
    spec_digest: Digest | None = None
    started_from: HeadCommit | None
    ancestors: Annotated[list[HeadCommit], Field(max_length=HEAD_ANCESTORS)] | None = None
    skip_steps: list[StepWindow]
    mean_seconds_between_interruptions: Annotated[PositiveNumber, Field(le=1e10)] | None
    created_at: Instant

    @field_validator("previous_owner", "spec_digest", "ancestors", mode="before")
    @classmethod
    def _absent_not_null(cls, value: object) -> object:
        return absent_not_null(value)

    @model_serializer(mode="wrap")
    def _leave_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        optional = ("ancestors", "previousOwner", "specDigest")
        return {key: value for key, value in written.items() if value is not None or key not in optional}
