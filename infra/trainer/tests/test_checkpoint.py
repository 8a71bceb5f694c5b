"""Promises 1 and 2: no committed step is lost, and only one writer can commit."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from longhaul_trainer.checkpoint import CheckpointManager, retain
from longhaul_trainer.contracts import CheckpointRef, CommitEvent, Head, Pin, Quarantine, dump, now, parse
from longhaul_trainer.digests import WeightsDigest
from longhaul_trainer.errors import (
    CheckpointFailure,
    DuplicateProcess,
    Fenced,
    PreconditionFailedError,
    UnavailableError,
    UserFailure,
)
from longhaul_trainer.layout import StageUrls
from longhaul_trainer.resume import Restored, load_checkpoint, stored_problems
from longhaul_trainer.store import Store, sha256_digest
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
    snapshot,
    tamper,
    timeout,
)


@pytest.fixture
def store(prefix: str) -> Store:
    return Store.from_environment()


@pytest.fixture
def urls(prefix: str) -> StageUrls:
    return StageUrls(f"{prefix}/runs/r/stages/01-a")


def resumed(store: Store, urls: StageUrls, **options: Any) -> tuple[CheckpointManager, Restored | None]:
    """What the next attempt finds."""
    manager = manager_for(store, urls, claim(store, urls), **options)
    return manager, manager.resume()


def weights(restored: Restored | None) -> bytes:
    assert restored is not None
    content = restored.files["model.safetensors"]
    assert isinstance(content, memoryview)
    return bytes(content)


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
        restored = manager_for(store, urls, claim(store, urls)).resume(tmp_path)
        assert restored is not None
        assert (tmp_path / "optimizer/rank-0").read_bytes() == snapshot(7).files["optimizer/rank-0"]

    def test_nothing_committed_means_zero_only_where_head_says_so(self, store: Store, urls: StageUrls) -> None:
        assert resumed(store, urls)[1] is None

    def test_a_missing_head_is_an_error_never_zero(self, store: Store, urls: StageUrls) -> None:
        commit(manager_for(store, urls, claim(store, urls)), 7)
        remove(store, urls.head)
        with pytest.raises(CheckpointFailure, match="HEAD is missing"):
            manager_for(store, urls, 2).resume()

    def test_an_unreadable_head_is_an_error(self, store: Store, urls: StageUrls) -> None:
        store.put(urls.head, b'{"epoch": 1}')
        with pytest.raises(CheckpointFailure, match=r"\$\.nonce"):
            manager_for(store, urls, 1).resume()

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
        assert one.resume() is None
        assert other.resume() is None
        newest = commit(one, 1)
        other.save(snapshot(1, "other"))
        with pytest.raises(DuplicateProcess):
            other.wait()
        assert commit_of(store, urls) == newest

    def test_of_many_racing_writers_each_move_of_head_has_one_winner(self, store: Store, urls: StageUrls) -> None:
        claim(store, urls)
        for _ in range(8):
            found = store.get(urls.head)
            before: Head = parse(Head, found.data)
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


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


CORRUPTIONS: dict[str, Callable[[Store, str], None]] = {
    "a flipped byte": lambda store, url: tamper(store, url, flip),
    "a truncated file": lambda store, url: tamper(store, url, lambda data: data[:-1]),
    "an empty file": lambda store, url: tamper(store, url, lambda data: b""),
    "a file that grew": lambda store, url: tamper(store, url, lambda data: data + b"!"),
    "a missing file": remove,
}


class TestACorruptCheckpointIsWalkedBackFrom:
    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    @pytest.mark.parametrize("file", ["model.safetensors", "manifest.json"])
    def test_the_newest_is_quarantined_and_its_parent_resumed(
        self, store: Store, urls: StageUrls, corruption: str, file: str
    ) -> None:
        manager = manager_for(store, urls, claim(store, urls))
        good, bad = commit(manager, 1), commit(manager, 2)
        CORRUPTIONS[corruption](store, f"{urls.checkpoint(bad.id)}/{file}")
        _, restored = resumed(store, urls)
        assert restored is not None
        assert restored.commit == good
        assert restored.skipped == [bad.id]
        mark: Quarantine = parse(Quarantine, store.get(urls.quarantine(bad.id)).data)
        assert mark.id == bad.id
        assert file in mark.problems[0]

    def test_so_are_the_newest_two(self, store: Store, urls: StageUrls) -> None:
        manager = manager_for(store, urls, claim(store, urls))
        good, bad, worse = commit(manager, 1), commit(manager, 2), commit(manager, 3)
        remove(store, urls.manifest(worse.id))
        tamper(store, f"{urls.checkpoint(bad.id)}/optimizer/rank-0", flip)
        _, restored = resumed(store, urls)
        assert restored is not None
        assert restored.commit == good
        assert restored.skipped == [worse.id, bad.id]

    def test_the_line_goes_on_from_the_good_one(self, store: Store, urls: StageUrls) -> None:
        manager = manager_for(store, urls, claim(store, urls))
        good, bad = commit(manager, 1), commit(manager, 2)
        tamper(store, f"{urls.checkpoint(bad.id)}/model.safetensors", flip)
        successor, _ = resumed(store, urls)
        newest = commit(successor, 2)
        manifest = load_checkpoint(store, reference(urls, newest)).manifest
        assert manifest.parent == good.id
        assert [ancestor.id for ancestor in head_of(store, urls).ancestors] == [good.id]
        assert store.find(urls.quarantine(bad.id)) is not None

    def test_a_quarantined_one_is_not_loaded_again(self, store: Store, urls: StageUrls) -> None:
        manager = manager_for(store, urls, claim(store, urls))
        good, bad = commit(manager, 1), commit(manager, 2)
        mark = Quarantine(schema_="longhaul.quarantine/1", id=bad.id, epoch=1, problems=["x"], found_at=now())
        store.create(urls.quarantine(bad.id), dump(mark))
        _, restored = resumed(store, urls)
        assert restored is not None
        assert restored.commit == good

    def test_when_none_verifies_it_is_an_error_never_zero(self, store: Store, urls: StageUrls) -> None:
        only = commit(manager_for(store, urls, claim(store, urls)), 1)
        remove(store, urls.manifest(only.id))
        with pytest.raises(CheckpointFailure, match=f"no checkpoint verifies; tried {only.id}"):
            resumed(store, urls)

    def test_one_bad_read_is_not_corruption(self, store: Store, urls: StageUrls) -> None:
        committed = commit(manager_for(store, urls, claim(store, urls)), 1)
        reads = []

        def lie_once(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            if str(request["Key"]).endswith("model.safetensors") and not reads:
                reads.append(1)
                request = request | {"Key": str(request["Key"]).replace("model.safetensors", "liar")}
            return call(**request)

        url = f"{urls.checkpoint(committed.id)}/model.safetensors"
        store.put(url.replace("model.safetensors", "liar"), flip(store.get(url).data))
        _, restored = resumed(misbehaving(store, get_object=lie_once), urls)
        assert restored is not None
        assert restored.commit == committed
        assert reads
        assert store.find(urls.quarantine(committed.id)) is None

    def test_a_checkpoint_that_a_newer_attempt_has_deleted_is_no_corruption(
        self, store: Store, urls: StageUrls
    ) -> None:
        manager = manager_for(store, urls, claim(store, urls))
        only = commit(manager, 1)
        late = manager_for(store, urls, claim(store, urls))
        late._guard.read()
        remove(store, urls.manifest(only.id))

        def claim_first(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            if str(request["Key"]).endswith("manifest.json") and head_of(store, urls).epoch == late._guard.epoch:
                claim(store, urls)
            return call(**request)

        late._store = misbehaving(store, get_object=claim_first)
        with pytest.raises(Fenced):
            late.resume()
        assert store.find(urls.quarantine(only.id)) is None


class TestStoreTroubleIsNotCorruption:
    @pytest.mark.parametrize("trouble", [answer(500, "InternalError"), answer(503, "SlowDown"), timeout()])
    def test_a_store_that_recovers_is_waited_for(self, store: Store, urls: StageUrls, trouble: Exception) -> None:
        committed = commit(manager_for(store, urls, claim(store, urls)), 1)
        failures = iter([trouble] * 2)

        def fail_at_first(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            if (failure := next(failures, None)) is not None:
                raise failure
            return call(**request)

        epoch = claim(store, urls)
        restored = manager_for(misbehaving(store, get_object=fail_at_first), urls, epoch).resume()
        assert restored is not None
        assert restored.commit == committed

    def test_one_that_does_not_is_a_store_error_and_marks_nothing(self, store: Store, urls: StageUrls) -> None:
        committed = commit(manager_for(store, urls, claim(store, urls)), 1)

        def fail(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            if "checkpoints" in request["Key"]:
                raise answer(503, "SlowDown")
            return call(**request)

        epoch = claim(store, urls)
        with pytest.raises(UnavailableError) as caught:
            manager_for(misbehaving(store, get_object=fail, patience_seconds=0.2), urls, epoch).resume()
        assert caught.value.failure_class == "store"
        assert store.find(urls.quarantine(committed.id)) is None


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
        assert events[0].bytes == sum(len(content) for content in snapshot(1).files.values())  # type: ignore[arg-type]
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
        manager.resume()
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


class TestVerificationAndDigests:
    def test_the_stored_level_compares_what_the_store_reports(self, store: Store, urls: StageUrls) -> None:
        committed = commit(manager_for(store, urls, claim(store, urls)), 1)
        manifest = load_checkpoint(store, reference(urls, committed)).manifest
        prefix = urls.checkpoint(committed.id)
        assert stored_problems(store, prefix, manifest.files) == []
        tamper(store, f"{prefix}/model.safetensors", flip)
        remove(store, f"{prefix}/optimizer/rank-0")
        assert stored_problems(store, prefix, manifest.files) == [
            "model.safetensors: the store reports another checksum",
            "optimizer/rank-0 is gone",
        ]

    def test_a_checkpoint_by_reference_must_match_its_digest(self, store: Store, urls: StageUrls) -> None:
        committed = commit(manager_for(store, urls, claim(store, urls)), 1)
        wrong = reference(urls, committed).model_copy(update={"manifest_digest": sha256_digest(b"other")})
        with pytest.raises(CheckpointFailure, match="does not match the digest"):
            load_checkpoint(store, wrong)

    def test_the_weights_digest_depends_on_name_type_shape_and_bytes_not_on_order(self) -> None:
        def digest(*entries: tuple[str, str, tuple[int, ...], bytes]) -> str:
            weights = WeightsDigest()
            for entry in entries:
                weights.add(*entry)
            return weights.digest()

        a, b = ("a", "F32", (2,), b"12345678"), ("b", "F32", (1, 1), b"1234")
        assert digest(a, b) == digest(b, a)
        others = [
            (("c", *a[1:]), b),
            (("a", "I32", *a[2:]), b),
            ((*a[:2], (1, 2), a[3]), b),
            ((*a[:3], b"12345679"), b),
        ]
        assert len({digest(a, b), *(digest(*other) for other in others)}) == 5


def reference(urls: StageUrls, committed: Any) -> CheckpointRef:
    return CheckpointRef(stage_url=urls.url, commit=committed.id, manifest_digest=committed.manifest_digest)
