"""``checkpoint.ts``: ``HEAD``, checkpoint manifests and what lies beside them."""

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
    ObjectUrl,
    Positive,
    Text,
)
from longhaul_trainer.contracts.common import StoredFile

HEAD_ANCESTORS = 64
"""Most earlier commits that ``HEAD`` names."""

Fingerprint = dict[str, str | bool | int | float]
"""Numerics fingerprint: what decides whether two attempts can be bit-identical."""


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
    """``lease.json`` of a stage: a trainer stops that *reads* the same ``renewal`` for ``seconds`` of its own time."""

    schema_: Literal["longhaul.lease/2"] = Field(alias="schema")
    epoch: Epoch
    renewal: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    seconds: Annotated[NonNegative, Field(le=604_800)]
    renewed_at: Instant
