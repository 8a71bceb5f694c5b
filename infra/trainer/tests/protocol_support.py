"""What the protocol's tests share: stages as the control plane would make them, managers, and stores that misbehave."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from longhaul_trainer.checkpoint.head import HeadGuard
from longhaul_trainer.checkpoint.manager import CheckpointManager, Snapshot, Terms
from longhaul_trainer.checkpoint.resume import Restored, Resumption
from longhaul_trainer.contracts import CheckpointPolicy, Head, HeadCommit, Topology, dump, now, parse
from longhaul_trainer.contracts.layout import StageUrls, split_url
from longhaul_trainer.store.client import Store, sha256_digest

RECIPE = sha256_digest(b"recipe")
DATASET = sha256_digest(b"dataset")


def claim(store: Store, urls: StageUrls, owner: str = "test") -> int:
    """What the control plane does before a launch: move HEAD to the next epoch, commit unchanged. Returns the epoch."""
    found = store.find(urls.head)
    if found is None:
        head = Head(
            schema_="longhaul.head/1",
            epoch=1,
            owner=owner,
            nonce=secrets.token_hex(16),
            commit=None,
            ancestors=[],
            updated_at=now(),
        )
        store.create(urls.head, dump(head))
        return 1
    before = parse(Head, found.data)
    update = {"epoch": before.epoch + 1, "owner": owner, "nonce": secrets.token_hex(16)}
    store.replace(urls.head, dump(before.model_copy(update=update)), found.etag)
    return before.epoch + 1


def head_of(store: Store, urls: StageUrls) -> Head:
    return parse(Head, store.get(urls.head).data)


def commit_of(store: Store, urls: StageUrls) -> HeadCommit:
    commit = head_of(store, urls).commit
    assert commit is not None
    return commit


def manager_for(
    store: Store, urls: StageUrls, epoch: int, *, keep_last: int = 3, keep_every: int = 0, **hooks: Any
) -> CheckpointManager:
    policy = CheckpointPolicy(every_steps="auto", keep_last=keep_last, keep_every=keep_every)
    terms = Terms(RECIPE, DATASET, {"torch": "test", "threads": 1}, policy, Topology(world_size=1, ranks_per_node=1))
    return CheckpointManager(store, urls, HeadGuard(store, urls, epoch), terms, **hooks)


def resume(manager: CheckpointManager, into: Path | None = None) -> Restored | None:
    """As an attempt does at its start: looks for the newest checkpoint that verifies, and goes on from it."""
    terms = manager._terms
    search = Resumption(manager._store, manager._urls, manager._guard, terms.recipe_digest, terms.dataset_digest)
    restored = search.newest(into)
    if restored is not None:
        manager.follow(restored)
    return restored


def resumed(store: Store, urls: StageUrls, **options: Any) -> tuple[CheckpointManager, Restored | None]:
    """What the next attempt finds."""
    manager = manager_for(store, urls, claim(store, urls), **options)
    return manager, resume(manager)


def weights(restored: Restored | None) -> bytes:
    """The weights of a checkpoint that was loaded into memory."""
    assert restored is not None
    content = restored.files["model.safetensors"]
    assert isinstance(content, memoryview)
    return bytes(content)


def snapshot(step: int, text: str = "") -> Snapshot:
    """A checkpoint of two files whose contents tell its step."""
    return Snapshot(
        step=step,
        tokens=step * 100,
        next_sample=step * 10,
        files={"model.safetensors": f"weights {step} {text}".encode() * 100, "optimizer/rank-0": b"moments" * step},
        weights_digest=sha256_digest(f"weights {step}".encode()),
    )


def commit(manager: CheckpointManager, step: int) -> HeadCommit:
    """Save and wait."""
    manager.save(snapshot(step))
    committed = manager.wait()
    assert committed is not None
    return committed


class Client:
    """A real S3 client with some calls replaced: ``Client(real, put_object=lambda call, request: …)``.

    A replacement gets the real method and the request, and may call it, raise, or both.
    """

    def __init__(self, real: Any, **replaced: Callable[[Callable[..., Any], dict[str, Any]], Any]) -> None:
        self._real, self._replaced = real, replaced

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)
        replacement = self._replaced.get(name)
        if replacement is None:
            return method
        return lambda **request: replacement(method, request)


def misbehaving(
    store: Store,
    *,
    patience_seconds: float = 20.0,
    **replaced: Callable[[Callable[..., Any], dict[str, Any]], Any],
) -> Store:
    """A store like ``store`` whose client misbehaves."""
    return Store(Client(store.client, **replaced), patience_seconds=patience_seconds)


def answer(status: int, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "test")


def timeout() -> ReadTimeoutError:
    return ReadTimeoutError(endpoint_url="http://test")


def is_head(request: dict[str, Any]) -> bool:
    return str(request["Key"]).endswith("/HEAD")


def tamper(store: Store, url: str, change: Callable[[bytes], bytes]) -> None:
    """Change an object behind the protocol's back."""
    store.put(url, change(store.get(url).data))


def flip(data: bytes) -> bytes:
    """The same with one bit of its first byte changed."""
    return bytes([data[0] ^ 1]) + data[1:]


def remove(store: Store, url: str) -> None:
    bucket, key = split_url(url)
    store.client.delete_object(Bucket=bucket, Key=key)
