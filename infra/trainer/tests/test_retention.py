"""Retention: nothing is deleted that something needs, nor before a newer commit verifies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from longhaul_trainer.checkpoint.manager import retain
from longhaul_trainer.contracts import Pin, dump, now
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import (
    CheckpointFailure,
    Fenced,
)
from longhaul_trainer.store.client import Store
from protocol_support import (
    claim,
    commit,
    commit_of,
    head_of,
    manager_for,
    misbehaving,
    resume,
    resumed,
    snapshot,
)


class TestRetention:
    def ids(self, store: Store, urls: StageUrls) -> list[int]:
        return sorted(int(identity.split("-")[0]) for identity in store.folders(urls.checkpoints))

    def test_keeps_the_newest_k_every_nth_and_what_is_pinned(self, store: Store, urls: StageUrls) -> None:
        manager = manager_for(store, urls, claim(store, urls), keep_last=2, keep_every=4)
        for step in range(1, 4):
            identity = commit(manager, step).id
            if step == 2:
                pin = Pin(schema_="longhaul.pin/1", id=identity, name="branch", reason="test", pinned_at=now())
                store.create(f"{urls.checkpoint(identity)}/pins/branch.json", dump(pin))
        for step in range(4, 9):
            commit(manager, step)
        assert self.ids(store, urls) == [2, 4, 7, 8]
        named = head_of(store, urls)
        assert [commit.step for commit in named.ancestors] == [7, 4]

    def test_clears_what_dead_attempts_left_uncommitted(self, store: Store, urls: StageUrls) -> None:
        manager = manager_for(store, urls, claim(store, urls))
        commit(manager, 1)
        manager._upload(snapshot(2))
        successor, _ = resumed(store, urls)
        commit(successor, 3)
        assert self.ids(store, urls) == [1, 3]

    def test_what_the_store_did_not_keep_is_neither_committed_nor_a_reason_to_delete(
        self, store: Store, urls: StageUrls
    ) -> None:
        def lose_bytes(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            if request["Key"].endswith("rank-0"):
                request = {"Bucket": request["Bucket"], "Key": request["Key"], "Body": b"less"}
            return call(**request)

        good = commit(manager_for(store, urls, claim(store, urls), keep_last=1), 1)
        manager = manager_for(misbehaving(store, put_object=lose_bytes), urls, claim(store, urls), keep_last=1)
        resume(manager)
        manager.save(snapshot(2))
        with pytest.raises(CheckpointFailure, match="was not stored as uploaded: optimizer/rank-0 has 4 bytes"):
            manager.wait()
        assert commit_of(store, urls) == good
        assert self.ids(store, urls) == [1, 2]

    def test_a_superseded_attempt_deletes_nothing(self, store: Store, urls: StageUrls) -> None:
        manager = manager_for(store, urls, claim(store, urls))
        commit(manager, 1)
        manager._upload(snapshot(2))
        claim(store, urls)
        with pytest.raises(Fenced):
            retain(store, urls, manager._guard, 0)
        assert self.ids(store, urls) == [1, 2]
