"""Checkpoints of a stage: saving, committing by ``HEAD``, retention. How they are read back: ``resume.py``.

A commit uploads every file under a fresh prefix, writes the manifest last, and moves ``HEAD`` by ``If-Match``. Whoever
reads ``HEAD`` sees either the previous commit or the whole new one; a superseded attempt can upload, but its move of
``HEAD`` fails and it ends ``fenced``.

Use::

    manager = CheckpointManager(store, urls, guard, terms, on_commit=…, on_warning=…)
    manager.follow(restored)                       # what the attempt goes on from; not called: nothing was committed
    …
    manager.save(Snapshot(step, tokens, next_sample, files, digest), stall_started=t0)   # returns while it uploads
    commit = manager.wait()                        # the newest commit; raises what a background save raised
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from longhaul_trainer.checkpoint.head import HeadGuard
from longhaul_trainer.checkpoint.resume import Restored, stored_problems
from longhaul_trainer.contracts import (
    HEAD_ANCESTORS,
    CheckpointManifest,
    CheckpointPolicy,
    CommitEvent,
    DataPosition,
    Fingerprint,
    HeadCommit,
    Topology,
    dump,
    now,
)
from longhaul_trainer.contracts.layout import StageUrls, commit_id, epoch_of
from longhaul_trainer.errors import (
    AmbiguousWriteError,
    CheckpointFailure,
    Fenced,
    JobFailure,
    NotFoundError,
    PreconditionFailedError,
    StoreError,
)
from longhaul_trainer.store.client import Store, sha256_digest
from longhaul_trainer.store.digests import root_digest
from longhaul_trainer.store.transfers import Lazy, upload_all


@dataclass(frozen=True)
class Snapshot:
    """What is saved: a consistent copy that training no longer touches.

    ``step``, ``tokens`` and ``next_sample`` are those of the stage. ``files``: contents by path below the checkpoint.
    ``weights_digest``: see ``weights_digest()``; may be a function, called in the background.
    """

    step: int
    tokens: int
    next_sample: int
    files: Mapping[str, Lazy]
    weights_digest: str | Callable[[], str]


@dataclass(frozen=True)
class Terms:
    """What every manifest of an attempt states, and what retention keeps."""

    recipe_digest: str
    dataset_digest: str
    fingerprint: Fingerprint
    checkpoints: CheckpointPolicy
    topology: Topology


class CheckpointManager:
    """Saves and commits for one attempt. One save is in flight at a time, in a background thread."""

    def __init__(
        self,
        store: Store,
        urls: StageUrls,
        guard: HeadGuard,
        terms: Terms,
        *,
        on_commit: Callable[[CommitEvent], None] = lambda event: None,
        on_warning: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._store, self._urls, self._guard, self._terms = store, urls, guard, terms
        self._on_commit, self._on_warning = on_commit, on_warning
        self._lineage: list[HeadCommit] = []
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._uncommitted: int | None = None
        self.save_seconds: float | None = None
        """How long the latest save took, copy to commit; None before the first."""

    @property
    def last_commit(self) -> HeadCommit | None:
        """The newest commit of this attempt, or the one it resumed from."""
        return self._lineage[0] if self._lineage else None

    @property
    def saving(self) -> bool:
        """Whether a save is in flight."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def uncommitted_step(self) -> int | None:
        """The step of a save in flight that is not committed yet; None: there is none."""
        return self._uncommitted

    def ready(self, interrupted: Callable[[], bool] = lambda: False) -> bool:
        """Whether a save can begin. Waits for one in flight, unless the store is in trouble: then training had better
        go on. Raises what that save raised."""
        thread = self._thread
        while thread is not None and thread.is_alive():
            if self._store.in_trouble or interrupted():
                return False
            thread.join(0.02)
        self.raise_failed_save()
        return True

    # --- resume ---

    def follow(self, restored: Restored) -> None:
        """The commits to come continue ``restored``."""
        self._lineage = list(restored.line)

    # --- save ---

    def save(self, snapshot: Snapshot, *, stall_started: float | None = None) -> float:
        """Commit ``snapshot`` in the background. Waits for a save still in flight, and raises what it raised.

        ``stall_started``: ``time.monotonic()`` when training stopped to make the snapshot. Returns the seconds that
        training stood still, from there until now.
        """
        started = time.monotonic() if stall_started is None else stall_started
        self.wait()
        stall = time.monotonic() - started
        self._uncommitted = snapshot.step
        self._thread = threading.Thread(
            target=self._run, args=(snapshot, started, stall), name="checkpoint", daemon=True
        )
        self._thread.start()
        return stall

    def wait(self) -> HeadCommit | None:
        """Wait for the save in flight. Returns the newest commit; raises what the save raised (once)."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self.last_commit

    def wait_for(self, seconds: float) -> bool:
        """Wait for the save in flight, but at most so long. Whether it is through; raises what it raised."""
        if self._thread is not None:
            self._thread.join(max(seconds, 0.0))
            if self._thread.is_alive():
                return False
        self.wait()
        return True

    def raise_failed_save(self) -> None:
        """Raise what a finished background save raised, without waiting for one in flight."""
        if not self.saving:
            self.wait()

    def _run(self, snapshot: Snapshot, started: float, stall: float) -> None:
        try:
            manifest = self._upload(snapshot)
            self._verify_stored(manifest)
            commit = self._publish(manifest)
            self._uncommitted = None
            self.save_seconds = time.monotonic() - started
            self._report(manifest, commit, stall, self.save_seconds)
            self._retain()
        except BaseException as error:  # handed to the training thread by wait()
            self._error = self._fenced() if isinstance(error, (CheckpointFailure, NotFoundError)) else None
            self._error = self._error or error

    def _fenced(self) -> Fenced | None:
        """What went missing under a save was deleted by a successor's retention, if there is a successor."""
        try:
            self._guard.read()
        except Fenced as fenced:
            return fenced
        except JobFailure:
            return None
        return None

    def _report(self, manifest: CheckpointManifest, commit: HeadCommit, stall: float, seconds: float) -> None:
        self._on_commit(
            CommitEvent(
                type="commit",
                at=now(),
                commit=commit.id,
                step=commit.step,
                tokens=commit.tokens,
                bytes=sum(file.bytes for file in manifest.files),
                stall_seconds=stall,
                seconds=seconds,
                manifest_digest=commit.manifest_digest,
            )
        )

    def _verify_stored(self, manifest: CheckpointManifest) -> None:
        """What the store did not keep as it was sent must not become HEAD, nor let retention delete its elders."""
        problems = stored_problems(self._store, self._urls.checkpoint(manifest.id), manifest.files)
        if problems:
            raise CheckpointFailure(f"checkpoint {manifest.id} was not stored as uploaded: {'; '.join(problems)}")

    def _retain(self) -> None:
        try:
            retain(self._store, self._urls, self._guard, self._terms.checkpoints.keep_every)
        except StoreError as error:
            self._on_warning(f"retention was put off: {error}")

    def _upload(self, snapshot: Snapshot) -> CheckpointManifest:
        """Everything but ``HEAD``: the files, then the manifest."""
        identity = commit_id(snapshot.step, self._guard.epoch, secrets.token_hex(4))
        contents = {path: source() if callable(source) else source for path, source in snapshot.files.items()}
        digest = snapshot.weights_digest() if callable(snapshot.weights_digest) else snapshot.weights_digest
        files = upload_all(self._store, self._urls.checkpoint(identity), contents)
        parent = self.last_commit
        manifest = CheckpointManifest(
            schema_="longhaul.checkpoint/1",
            id=identity,
            epoch=self._guard.epoch,
            parent=parent.id if parent else None,
            step=snapshot.step,
            tokens=snapshot.tokens,
            data_position=DataPosition(dataset_digest=self._terms.dataset_digest, next_sample=snapshot.next_sample),
            recipe_digest=self._terms.recipe_digest,
            topology=self._terms.topology,
            fingerprint=self._terms.fingerprint,
            files=files,
            root_digest=root_digest(files),
            weights_digest=digest,
            created_at=now(),
        )
        self._store.create(self._urls.manifest(identity), dump(manifest))
        return manifest

    def _publish(self, manifest: CheckpointManifest) -> HeadCommit:
        """Move ``HEAD`` to the manifest. The one moment at which the step becomes committed."""
        commit = HeadCommit(
            id=manifest.id,
            step=manifest.step,
            tokens=manifest.tokens,
            manifest_digest=sha256_digest(dump(manifest)),
        )
        ancestors = self._kept(self._lineage)
        nonce = secrets.token_hex(16)
        self._guard.expect(nonce)
        for _ in self._store.tries(f"moving {self._urls.head}"):
            head, etag = self._guard.read()
            if head.nonce == nonce:
                break
            moved = head.model_copy(
                update={"nonce": nonce, "commit": commit, "ancestors": ancestors, "updated_at": now()}
            )
            # Refused or unanswered says nothing: the next read tells own nonce, newer epoch, or try again.
            with suppress(PreconditionFailedError, AmbiguousWriteError):
                self._store.replace(self._urls.head, dump(moved), etag)
                break
        self._lineage = [commit, *ancestors]
        return commit

    def _kept(self, line: list[HeadCommit]) -> list[HeadCommit]:
        """Those of the earlier commits that retention keeps, so that ``HEAD`` names nothing that will be gone."""
        policy = self._terms.checkpoints
        kept = [
            commit
            for index, commit in enumerate(line)
            if index < policy.keep_last - 1 or (policy.keep_every > 0 and commit.step % policy.keep_every == 0)
        ]
        return kept[:HEAD_ANCESTORS]


# --- retention --------------------------------------------------------------------------------------------------------


def retain(store: Store, urls: StageUrls, guard: HeadGuard, keep_every: int) -> list[str]:
    """Delete checkpoints that nothing needs; returns their ids. To be called once ``HEAD``'s commit has verified.

    Kept: what ``HEAD`` names, every ``keep_every``-th step, the pinned, the quarantined (as evidence), and everything
    of a newer epoch. Raises Fenced, and deletes nothing, when ``HEAD`` is another attempt's.
    """
    head, _ = guard.read()
    named = {commit.id for commit in (head.commit, *head.ancestors) if commit is not None}
    deleted = []
    for identity in store.folders(urls.checkpoints):
        if identity in named or epoch_of(identity) > guard.epoch:
            continue
        objects = [item.url for item in store.list(urls.checkpoint(identity))]
        if _needed(urls, identity, objects, keep_every):
            continue
        manifest = urls.manifest(identity)
        store.delete(sorted(objects, key=lambda url: url != manifest))  # the manifest first: no half checkpoint
        deleted.append(identity)
    return deleted


def _needed(urls: StageUrls, identity: str, objects: list[str], keep_every: int) -> bool:
    if urls.quarantine(identity) in objects:
        return True
    if any(url.startswith(f"{urls.checkpoint(identity)}/pins/") for url in objects):
        return True
    committed = urls.manifest(identity) in objects
    return committed and keep_every > 0 and int(identity.split("-")[0]) % keep_every == 0
