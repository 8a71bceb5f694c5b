"""``evaluation.ts``: evaluation records and the results that gather them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationInfo, field_validator, model_serializer

from longhaul_trainer.contracts.base import (
    Contract,
    Digest,
    Fraction,
    Instant,
    Natural,
    Number,
    Positive,
    absent_not_null,
)


class _Record(Contract):
    schema_: Literal["longhaul.record/1"] = Field(alias="schema")
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    sample: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    target: str
    length_tokens: Positive
    finished_at: Instant


Shortfall = Literal["next-pair-too-long", "shorter-question"]
"""Why prompt and answer fill less than 97 % of the length: one pair more would not fit; other questions of the context
take more tokens than this one."""


class RecallRecord(_Record):
    """One answered recall question. ``answer_log_probability``: sum over the expected answer's tokens, nats.

    ``shortfall`` is left out of the JSON when None: the length is filled.
    """

    task: Literal["kv-recall", "needle"]
    depth: Fraction
    prompt_tokens: Positive
    shortfall: Shortfall | None = None
    prompt_digest: Digest
    expected: str
    output: str
    exact_match: bool
    answer_log_probability: Number
    answer_tokens: Positive

    @field_validator("shortfall", mode="before")
    @classmethod
    def _absent_not_null(cls, value: object, info: ValidationInfo) -> object:
        return absent_not_null(value) if info.mode == "json" else value

    @model_serializer(mode="wrap")
    def _leave_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


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
