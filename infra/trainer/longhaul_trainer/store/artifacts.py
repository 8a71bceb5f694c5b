"""Inputs and outputs that are named by digest: manifests, configs, model folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from longhaul_trainer.contracts import Contract, ContractError, ModelManifest, ModelRef, dump, parse
from longhaul_trainer.errors import DataFailure, JobFailure, NotFoundError, UserFailure
from longhaul_trainer.store.client import Store, sha256_digest
from longhaul_trainer.store.digests import manifest_coverage_problem
from longhaul_trainer.store.transfers import Lazy, download_all, upload_all

AnyContract = TypeVar("AnyContract", bound=Contract)


def read_verified(store: Store, url: str, digest: str, failure: type[JobFailure] = UserFailure) -> bytes:
    """The bytes at ``url``, which must have ``digest``; read twice before they count as wrong.

    Raises ``failure`` when the object is gone or disagrees, StoreError when the store is in trouble.
    """
    problem = ""
    for _ in range(2):
        try:
            data = store.get(url).data
        except NotFoundError:
            problem = f"{url} is not there"
            continue
        if sha256_digest(data) == digest:
            return data
        problem = f"{url} does not have the digest {digest}"
    raise failure(problem)


def read_contract(
    store: Store, url: str, digest: str, contract: type[AnyContract], failure: type[JobFailure] = DataFailure
) -> AnyContract:
    """As ``read_verified``, parsed as ``contract``; what breaks the contract raises ``failure`` too."""
    try:
        return parse(contract, read_verified(store, url, digest, failure), url)
    except ContractError as error:
        raise failure(str(error)) from None


@dataclass(frozen=True)
class ModelFolder:
    """A model on this machine. ``files``: names of what its manifest lists and was verified; nothing else is the model's."""

    path: Path
    files: frozenset[str]


def fetch_model(
    store: Store, ref: ModelRef, into: Path, wanted: Callable[[str], bool] = lambda name: True
) -> ModelFolder:
    """Download a model folder into ``into``, every part verified. ``wanted``: of its files, those whose name it accepts.

    Raises UserFailure where the model is not what its manifest says, StoreError.
    """
    manifest = read_contract(store, f"{ref.url}/manifest.json", ref.digest, ModelManifest, UserFailure)
    problem = manifest_coverage_problem(manifest.files)
    files = [file for file in manifest.files if wanted(file.path)]
    problems = [problem] if problem else download_all(store, ref.url, files, into)[1]
    if problems:
        raise UserFailure(f"model {ref.url}: {'; '.join(problems)}")
    return ModelFolder(into, frozenset(file.path for file in files))


def publish_model(store: Store, url: str, files: Mapping[str, Lazy], origin: str) -> ModelRef:
    """Upload a model folder to the prefix ``url``, its manifest last; publishing the same again is harmless.

    ``files``: contents by name (``config.json``, ``model.safetensors``, …), made and uploaded one after the other, so that
    memory holds one of them. ``origin``: ``base``, or stage URL and commit.
    """
    stored = []
    for name, file in sorted(files.items()):
        stored += upload_all(store, url, {name: file() if callable(file) else file})
    data = dump(ModelManifest(schema_="longhaul.model/1", files=stored, origin=origin))
    store.put(f"{url}/manifest.json", data)
    return ModelRef(url=url, digest=sha256_digest(data))
