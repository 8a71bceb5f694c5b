"""Promises 1 and 2: a commit is whole or not there, and only one writer can make it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from longhaul_trainer.contracts import CommitEvent, Head, dump, parse
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import (
    CheckpointFailure,
    DuplicateProcess,
    Fenced,
    PreconditionFailedError,
    UserFailure,
)
from longhaul_trainer.store.client import Store, sha256_digest
from protocol_support import (
    answer,
    claim,
    commit,
    commit_of,
    head_of,
    is_head,
    manager_for,
    misbehaving,
    remove,
    resume,
    resumed,
    snapshot,
    timeout,
    weights,
)


class TestACommitIsWholeOrNotThere:
    def test_what_was_saved_is_what_the_next_attempt_resumes(self, store: Store, urls: StageUrls) -> None:
        first = commit(manager_for(store, urls, claim(store, urls)), 7)
        _, restored = resumed(store, urls)
        assert restored is not None
        assert restored.commit == first
        assert (restored.manifest.step, restored.manifest.tokens) == (7, 700)
        assert restored.manifest.data_position.next_sample == 70
        assert weights(restored) == snapshot(7).files["model.safetensors"]

    def test_a_checkpoint_can_be_loaded_into_a_folder(self, store: Store, urls: StageUrls, tmp_path: Path) -> None:
        commit(manager_for(store, urls, claim(store, urls)), 7)
        restored = resume(manager_for(store, urls, claim(store, urls)), tmp_path)
        assert restored is not None
        assert (tmp_path / "optimizer/rank-0").read_bytes() == snapshot(7).files["optimizer/rank-0"]

    def test_nothing_committed_means_zero_only_where_head_says_so(self, store: Store, urls: StageUrls) -> None:
        assert resumed(store, urls)[1] is None

    def test_a_missing_head_is_an_error_never_zero(self, store: Store, urls: StageUrls) -> None:
        commit(manager_for(store, urls, claim(store, urls)), 7)
        remove(store, urls.head)
        with pytest.raises(CheckpointFailure, match="HEAD is missing"):
            resume(manager_for(store, urls, 2))

    def test_an_unreadable_head_is_an_error(self, store: Store, urls: StageUrls) -> None:
        store.put(urls.head, b'{"epoch": 1}')
        with pytest.raises(CheckpointFailure, match=r"\$\.nonce"):
            resume(manager_for(store, urls, 1))

    @pytest.mark.parametrize("moment", ["_publish", "_upload"])
    def test_a_writer_killed_before_it_moved_head_leaves_the_commit_before(
        self, store: Store, urls: StageUrls, moment: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manager = manager_for(store, urls, claim(store, urls))
        first = commit(manager, 1)

        def die(*_: object) -> None:
            raise SystemExit("killed")

        monkeypatch.setattr(manager, moment, die)
        manager.save(snapshot(2))
        with pytest.raises(SystemExit):
            manager.wait()
        _, restored = resumed(store, urls)
        assert restored is not None
        assert restored.commit == first

    def test_the_manifest_is_written_after_every_file_and_head_after_it(self, store: Store, urls: StageUrls) -> None:
        order: list[str] = []

        def note(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            order.append(str(request["Key"]).rsplit("/", 1)[1])
            return call(**request)

        commit(manager_for(misbehaving(store, put_object=note), urls, claim(store, urls)), 1)
        assert sorted(order[:2]) == ["model.safetensors", "rank-0"]
        assert order[2:] == ["manifest.json", "HEAD"]

    def test_a_checkpoint_of_another_recipe_or_dataset_is_refused(self, store: Store, urls: StageUrls) -> None:
        manager = manager_for(store, urls, claim(store, urls))
        manager._terms = manager._terms.__class__(
            **(vars(manager._terms) | {"recipe_digest": sha256_digest(b"another")})
        )
        commit(manager, 1)
        with pytest.raises(UserFailure, match="another recipe"):
            resumed(store, urls)


class TestOneWriter:
    def test_a_superseded_attempt_can_upload_but_not_commit(self, store: Store, urls: StageUrls) -> None:
        zombie = manager_for(store, urls, claim(store, urls))
        commit(zombie, 1)
        successor, _ = resumed(store, urls)
        newest = commit(successor, 2)
        zombie.save(snapshot(3))
        with pytest.raises(Fenced, match="epoch 2 has superseded epoch 1"):
            zombie.wait()
        assert commit_of(store, urls) == newest

    def test_a_claim_between_read_and_write_makes_the_write_fail(self, store: Store, urls: StageUrls) -> None:
        """The 412 itself: the zombie has read HEAD, then the successor claims, then the zombie writes."""

        def claim_first(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            if is_head(request) and head_of(store, urls).epoch == 1:
                claim(store, urls)
            return call(**request)

        zombie = manager_for(misbehaving(store, put_object=claim_first), urls, claim(store, urls))
        zombie.save(snapshot(1))
        with pytest.raises(Fenced):
            zombie.wait()
        assert head_of(store, urls).commit is None

    def test_two_processes_of_one_epoch_cannot_both_commit(self, store: Store, urls: StageUrls) -> None:
        epoch = claim(store, urls)
        one, other = manager_for(store, urls, epoch), manager_for(store, urls, epoch)
        assert resume(one) is None
        assert resume(other) is None
        newest = commit(one, 1)
        other.save(snapshot(1, "other"))
        with pytest.raises(DuplicateProcess):
            other.wait()
        assert commit_of(store, urls) == newest

    def test_of_many_racing_writers_each_move_of_head_has_one_winner(self, store: Store, urls: StageUrls) -> None:
        claim(store, urls)
        for _ in range(8):
            found = store.get(urls.head)
            before = parse(Head, found.data)
            barrier = threading.Barrier(32)

            def race(
                _: int, before: Head = before, etag: str = found.etag, barrier: threading.Barrier = barrier
            ) -> str:
                # Fresh in every round: equal bodies would have equal ETags, and two writers of them could both win.
                moved = before.model_copy(update={"nonce": secrets.token_hex(16)})
                barrier.wait()
                try:
                    store.replace(urls.head, dump(moved), etag)
                except PreconditionFailedError:
                    return "refused"
                return moved.nonce

            with ThreadPoolExecutor(32) as pool:
                answers = list(pool.map(race, range(32)))
            assert answers.count("refused") == 31
            assert head_of(store, urls).nonce in answers


class TestAmbiguousAnswersAreReRead:
    @pytest.mark.parametrize(
        "lost", [timeout(), answer(500, "InternalError"), answer(412, "PreconditionFailed"), answer(409, "Conflict")]
    )
    def test_a_lost_answer_to_a_move_that_landed_is_recognised_by_its_nonce(
        self, store: Store, urls: StageUrls, lost: Exception
    ) -> None:
        writes = []

        def lose_the_answer(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            result = call(**request)
            if is_head(request):
                writes.append(request)
                raise lost
            return result

        manager = manager_for(misbehaving(store, put_object=lose_the_answer), urls, claim(store, urls))
        committed = commit(manager, 1)
        assert commit_of(store, urls) == committed
        assert len(writes) == 1

    def test_a_lost_answer_to_a_move_that_did_not_land_is_tried_again(self, store: Store, urls: StageUrls) -> None:
        tries = []

        def fail_once(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            if is_head(request):
                tries.append(1)
                if len(tries) == 1:
                    raise timeout()
            return call(**request)

        manager = manager_for(misbehaving(store, put_object=fail_once), urls, claim(store, urls))
        committed = commit(manager, 1)
        assert commit_of(store, urls) == committed
        assert len(tries) == 2

    def test_a_lost_answer_to_a_file_that_landed_does_no_harm(self, store: Store, urls: StageUrls) -> None:
        lost: set[str] = set()

        def lose_each_once(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            result = call(**request)
            if request["Key"] not in lost:
                lost.add(request["Key"])
                raise timeout()
            return result

        commit(manager_for(misbehaving(store, put_object=lose_each_once), urls, claim(store, urls)), 1)
        assert len(lost) == 4
        assert weights(resumed(store, urls)[1]) == snapshot(1).files["model.safetensors"]


class TestSavingOverlapsTraining:
    def test_save_returns_while_it_uploads_and_the_next_one_waits(self, store: Store, urls: StageUrls) -> None:
        gate = threading.Event()

        def wait_for_gate(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            gate.wait(30)
            return call(**request)

        events: list[CommitEvent] = []
        manager = manager_for(
            misbehaving(store, put_object=wait_for_gate), urls, claim(store, urls), on_commit=events.append
        )
        manager.save(snapshot(1), stall_started=time.monotonic())
        assert manager.saving
        assert head_of(store, urls).commit is None
        gate.set()
        manager.save(snapshot(2))
        assert commit_of(store, urls).step == 1
        manager.wait()
        assert [event.step for event in events] == [1, 2]
        contents = [content for content in snapshot(1).files.values() if isinstance(content, bytes)]
        assert events[0].bytes == sum(map(len, contents))
        assert events[0].stall_seconds <= events[0].seconds

    def test_an_exception_in_the_background_reaches_the_training_thread(self, store: Store, urls: StageUrls) -> None:
        manager = manager_for(store, urls, claim(store, urls))

        def explode() -> bytes:
            raise MemoryError("no room for a copy")

        failing = snapshot(1)
        manager.save(failing.__class__(**(vars(failing) | {"files": {"model.safetensors": explode}})))
        with pytest.raises(MemoryError):
            manager.wait()
        assert commit(manager, 2).step == 2
