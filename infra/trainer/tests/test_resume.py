"""Promise 1: a run resumes from the newest checkpoint that verifies, never silently from zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from longhaul_trainer.checkpoint.attempt import AttemptTerms
from longhaul_trainer.checkpoint.head import HeadGuard
from longhaul_trainer.checkpoint.resume import Restored, Resumption, load_checkpoint, stored_problems
from longhaul_trainer.contracts import AttemptFile, CheckpointRef, Head, Quarantine, dump, now, parse
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import (
    CheckpointFailure,
    Fenced,
    UnavailableError,
)
from longhaul_trainer.store.client import Store, sha256_digest
from protocol_support import (
    DATASET,
    RECIPE,
    answer,
    claim,
    commit,
    flip,
    head_of,
    manager_for,
    misbehaving,
    remove,
    resume,
    resumed,
    tamper,
    timeout,
)


class TestAHeadThatSaysSomethingElseThanItsClaimIsRefused:
    """Somebody who may write to the store changes weights, their manifest and ``HEAD`` alike, while nobody trains."""

    @pytest.fixture
    def claimed(self, store: Store, urls: StageUrls) -> AttemptFile:
        manager = manager_for(store, urls, claim(store, urls))
        for step in (1, 2, 3):
            commit(manager, step)
        head = head_of(store, urls)
        return AttemptFile(
            schema_="longhaul.attempt/1",
            epoch=head.epoch + 1,
            owner="test",
            started_from=head.commit,
            ancestors=head.ancestors,
            skip_steps=[],
            mean_seconds_between_interruptions=None,
            created_at=now(),
        )

    def resume(self, store: Store, urls: StageUrls, claimed: AttemptFile) -> Restored | None:
        guard = HeadGuard(store, urls, claim(store, urls))
        return Resumption(store, urls, guard, RECIPE, DATASET, terms=AttemptTerms(claimed)).newest(None)

    def test_what_was_claimed_is_gone_on_from(self, store: Store, urls: StageUrls, claimed: AttemptFile) -> None:
        restored = self.resume(store, urls, claimed)
        assert restored is not None
        assert restored.commit == claimed.started_from

    @pytest.mark.parametrize("behind", [0, 1, 2])
    def test_another_manifest_under_the_same_name(
        self, store: Store, urls: StageUrls, claimed: AttemptFile, behind: int
    ) -> None:
        def rewrite(data: bytes) -> bytes:
            head = parse(Head, data)
            line = [one for one in (head.commit, *head.ancestors) if one is not None]
            url = urls.manifest(line[behind].id)
            tamper(store, url, lambda manifest: manifest.replace(b'"torch": "test"', b'"torch": "evil"'))
            digest = sha256_digest(store.get(url).data)
            line[behind] = line[behind].model_copy(update={"manifest_digest": digest})
            return dump(head.model_copy(update={"commit": line[0], "ancestors": line[1:]}))

        tamper(store, urls.head, rewrite)
        with pytest.raises(CheckpointFailure, match=r"^HEAD names .* (begins at|when it was claimed)"):
            self.resume(store, urls, claimed)

    def test_no_commit_any_more(self, store: Store, urls: StageUrls, claimed: AttemptFile) -> None:
        tamper(
            store,
            urls.head,
            lambda data: dump(parse(Head, data).model_copy(update={"commit": None, "ancestors": []})),
        )
        with pytest.raises(CheckpointFailure, match=r"^HEAD names no commit, but this attempt begins at 00000003"):
            self.resume(store, urls, claimed)


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
        mark = parse(Quarantine, store.get(urls.quarantine(bad.id)).data)
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
        reads: list[int] = []

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
            resume(late)
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
        restored = resume(manager_for(misbehaving(store, get_object=fail_at_first), urls, epoch))
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
            resume(manager_for(misbehaving(store, get_object=fail, patience_seconds=0.2), urls, epoch))
        assert caught.value.failure_class == "store"
        assert store.find(urls.quarantine(committed.id)) is None


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


def reference(urls: StageUrls, committed: Any) -> CheckpointRef:
    return CheckpointRef(stage_url=urls.url, commit=committed.id, manifest_digest=committed.manifest_digest)
