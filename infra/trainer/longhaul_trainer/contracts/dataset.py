"""``dataset.ts``: a curated dataset of MDS shards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from longhaul_trainer.contracts.base import Contract, Digest, Natural, NonNegative, Positive, Text


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
    """One domain of a dataset.

    ``passes`` is how often its text was gone through; ``untrained_documents`` were left out, because a row's length of
    them has nothing to train on.
    """

    name: Text
    rows: Natural
    documents: Natural
    passes: NonNegative
    untrained_documents: Natural


class DatasetManifest(Contract):
    """``datasets/<name>.<digest>/manifest.json``. Rows lie in the order of consumption: row i is sample i."""

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
