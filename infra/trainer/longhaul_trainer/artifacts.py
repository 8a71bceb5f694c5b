"""Inputs and outputs that are named by digest: manifests, configs, model folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .contracts import ContractError, ModelManifest, ModelRef, dump, parse
from .errors import DataFailure, JobFailure, NotFoundError, UserFailure
from .resume import manifest_coverage_problem
from .store import Store, sha256_digest
from .transfers import Source, download_all, upload_all


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


def read_contract(store: Store, url: str, digest: str, contract: Any, failure: type[JobFailure] = DataFailure) -> Any:
    """As ``read_verified``, parsed as ``contract``; what breaks the contract raises ``failure`` too."""
    try:
        return parse(contract, read_verified(store, url, digest, failure), url)
    except ContractError as error:
        raise failure(str(error)) from None


def fetch_model(store: Store, ref: ModelRef, into: Path) -> Path:
    """Download a model folder into ``into``, every part verified. Returns ``into``."""
    manifest: ModelManifest = read_contract(store, f"{ref.url}/manifest.json", ref.digest, ModelManifest, UserFailure)
    problem = manifest_coverage_problem(manifest.files)
    problems = [problem] if problem else download_all(store, ref.url, manifest.files, into)[1]
    if problems:
        raise UserFailure(f"model {ref.url}: {'; '.join(problems)}")
    return into


def publish_model(store: Store, url: str, files: Mapping[str, Source], origin: str) -> ModelRef:
    """Upload a model folder to the prefix ``url``, its manifest last; publishing the same again is harmless.

    ``files``: contents by name (``config.json``, ``model.safetensors``, …). ``origin``: ``base``, or stage URL and
    commit.
    """
    stored = upload_all(store, url, files)
    data = dump(ModelManifest(schema_="longhaul.model/1", files=stored, origin=origin))
    store.put(f"{url}/manifest.json", data)
    return ModelRef(url=url, digest=sha256_digest(data))
