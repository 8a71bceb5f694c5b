"""``common.ts``: digests of files, references to datasets, models and checkpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from longhaul_trainer.contracts.base import CommitId, Contract, Digest, FileName, Natural, ObjectUrl

PART_BYTES = 64 * 1024 * 1024
"""Part size for hashing and transfer, bytes."""


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

    path: FileName
    bytes: Natural
    parts: Annotated[list[Part], Field(min_length=1)]


class ModelManifest(Contract):
    """``manifest.json`` of a model folder: every file but this manifest, sorted by path."""

    schema_: Literal["longhaul.model/1"] = Field(alias="schema")
    files: Annotated[list[StoredFile], Field(min_length=1)]
    origin: str
