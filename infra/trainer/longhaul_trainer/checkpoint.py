"""Checkpoints of a stage: saving, committing by ``HEAD``, resuming from the newest that verifies, retention.

A commit uploads every file under a fresh prefix, writes the manifest last, and moves ``HEAD`` by ``If-Match``. Whoever
reads ``HEAD`` sees either the previous commit or the whole new one; a superseded attempt can upload, but its move of
``HEAD`` fails and it ends ``fenced``.

Use::

    manager = CheckpointManager(store, urls, guard, terms, on_commit=…, on_warning=…)
    restored = manager.resume(into=None)          # None: nothing was committed yet, start from the initial weights
    …
    manager.save(Snapshot(step, tokens, next_sample, files, digest), stall_started=t0)   # returns while it uploads
    commit = manager.wait()                        # the newest commit; raises what a background save raised
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .contracts import (
    HEAD_ANCESTORS,
    CheckpointManifest,
    CheckpointRef,
    CommitEvent,
    ContractError,
    DataPosition,
    Fingerprint,
    Head,
    HeadCommit,
    Quarantine,
    StoredFile,
    Topology,
    dump,
    now,
    parse,
)
from .errors import (
    AmbiguousWriteError,
    CheckpointFailure,
    DuplicateProcess,
    Fenced,
    NotFoundError,
    PreconditionFailedError,
    StoreError,
    UserFailure,
)
from .layout import StageUrls, commit_id, epoch_of
from .store import Source, Store, sha256_digest, stored_checksum

Lazy = Source | Callable[[], Source]
"""Contents of a file, or a function that makes them in the background thread (from tensors already copied)."""


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
class Restored:
    """A verified checkpoint. ``files``: in memory, or local paths when it was loaded into a folder."""

    commit: HeadCommit
    manifest: CheckpointManifest
    files: Mapping[str, memoryview | Path]
    skipped: Sequence[str] = ()
    """Commits passed over because they are quarantined or were found corrupt."""


@dataclass(frozen=True)
class Terms:
    """What every manifest of an attempt states, and what retention keeps."""

    recipe_digest: str
    dataset_digest: str
    fingerprint: Fingerprint
    keep_last: int
    keep_every: int
    world_size: int = 1
    ranks_per_node: int = 1


class HeadGuard:
    """Reads ``HEAD`` on behalf of one attempt and raises Fenced once another writer has moved it.

    A newer epoch is another attempt. A nonce in the own epoch that this process neither found nor wrote is a second
    process of the same attempt. Safe to use from the flush thread and the save thread at once.
    """

    def __init__(self, store: Store, urls: StageUrls, epoch: int) -> None:
        self._store, self._urls, self.epoch = store, urls, epoch
        self._known: set[str] = set()
        self._adopted = False
        self._lock = threading.Lock()

    def expect(self, nonce: str) -> None:
        """``HEAD`` may from now on carry ``nonce``, which this process is about to write."""
        with self._lock:
            self._known.add(nonce)

    def read(self) -> tuple[Head, str]:
        """``HEAD`` and its ETag. Raises Fenced, CheckpointFailure (missing or invalid), StoreError."""
        head, etag = read_head(self._store, self._urls)
        if head.epoch > self.epoch:
            raise Fenced(f"epoch {head.epoch} has superseded epoch {self.epoch}")
        if head.epoch < self.epoch:
            raise CheckpointFailure(f"HEAD is at epoch {head.epoch}, but this attempt was given {self.epoch}")
        with self._lock:
            if not self._adopted:
                self._adopted = True
                self._known.add(head.nonce)
            if head.nonce not in self._known:
                raise DuplicateProcess(f"another process commits in epoch {self.epoch}")
        return head, etag


def read_head(store: Store, urls: StageUrls) -> tuple[Head, str]:
    """``HEAD`` and its ETag. A missing ``HEAD`` is an error, never step zero: raises CheckpointFailure."""
    try:
        found = store.get(urls.head)
    except NotFoundError:
        raise CheckpointFailure(f"{urls.head} is missing; it is created when the stage starts") from None
    try:
        return parse(Head, found.data, urls.head), found.etag
    except ContractError as error:
        raise CheckpointFailure(str(error)) from None


class CheckpointManager:
    """Saves, commits and resumes for one attempt. One save is in flight at a time, in a background thread."""

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

    # --- resume ---

    def resume(self, into: Path | None = None) -> Restored | None:
        """The newest checkpoint that verifies, following ``HEAD``'s own account of its line, never a listing.

        None only where ``HEAD`` itself says that nothing was committed (it was created empty, or an operator's claim
        set it back to zero). Corrupt checkpoints are quarantined and passed over. Raises CheckpointFailure when there
        are commits but none verifies, UserFailure when it belongs to another recipe or dataset, Fenced, StoreError.
        """
        head, _ = self._guard.read()
        if head.commit is None:
            return None
        line = [head.commit, *head.ancestors]
        skipped: list[str] = []
        for index, commit in enumerate(line):
            restored = self._try(commit, into)
            if restored is not None:
                self._refuse_foreign(restored.manifest)
                self._lineage = line[index:]
                return Restored(restored.commit, restored.manifest, restored.files, skipped)
            skipped.append(commit.id)
        raise CheckpointFailure(f"no checkpoint verifies; tried {', '.join(skipped)}")

    def _try(self, commit: HeadCommit, into: Path | None) -> Restored | None:
        if self._store.find(self._urls.quarantine(commit.id)) is not None:
            self._on_warning(f"checkpoint {commit.id} is quarantined; trying its parent")
            return None
        restored, problems = load_commit(self._store, self._urls, commit, into)
        if restored is None:
            self._guard.read()  # a newer attempt's retention may have deleted it: that is no corruption
            self._quarantine(commit, problems)
        return restored

    def _quarantine(self, commit: HeadCommit, problems: list[str]) -> None:
        self._on_warning(f"checkpoint {commit.id} is corrupt ({'; '.join(problems)}); trying its parent")
        mark = Quarantine(
            schema_="longhaul.quarantine/1",
            id=commit.id,
            epoch=self._guard.epoch,
            problems=problems,
            found_at=now(),
        )
        with suppress(PreconditionFailedError):  # someone marked it before
            self._store.create(self._urls.quarantine(commit.id), dump(mark))

    def _refuse_foreign(self, manifest: CheckpointManifest) -> None:
        if manifest.recipe_digest != self._terms.recipe_digest:
            raise UserFailure(f"checkpoint {manifest.id} was made by another recipe ({manifest.recipe_digest})")
        if manifest.data_position.dataset_digest != self._terms.dataset_digest:
            raise UserFailure(f"checkpoint {manifest.id} was trained on another dataset manifest")

    # --- save ---

    def save(self, snapshot: Snapshot, *, stall_started: float | None = None) -> float:
        """Commit ``snapshot`` in the background. Waits for a save still in flight, and raises what it raised.

        ``stall_started``: ``time.monotonic()`` when training stopped to make the snapshot. Returns the seconds that
        training stood still, from there until now.
        """
        started = time.monotonic() if stall_started is None else stall_started
        self.wait()
        stall = time.monotonic() - started
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

    def raise_failed_save(self) -> None:
        """Raise what a finished background save raised, without waiting for one in flight."""
        if not self.saving:
            self.wait()

    def _run(self, snapshot: Snapshot, started: float, stall: float) -> None:
        try:
            manifest = self._upload(snapshot)
            self._verify_stored(manifest)
            commit = self._publish(manifest)
            self.save_seconds = time.monotonic() - started
            self._report(manifest, commit, stall, self.save_seconds)
            self._retain()
        except BaseException as error:  # handed to the training thread by wait()
            self._error = error

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
            )
        )

    def _verify_stored(self, manifest: CheckpointManifest) -> None:
        """What the store did not keep as it was sent must not become HEAD, nor let retention delete its elders."""
        problems = stored_problems(self._store, self._urls.checkpoint(manifest.id), manifest.files)
        if problems:
            raise CheckpointFailure(f"checkpoint {manifest.id} was not stored as uploaded: {'; '.join(problems)}")

    def _retain(self) -> None:
        try:
            retain(self._store, self._urls, self._guard, self._terms.keep_every)
        except StoreError as error:
            self._on_warning(f"retention was put off: {error}")

    def _upload(self, snapshot: Snapshot) -> CheckpointManifest:
        """Everything but ``HEAD``: the files, then the manifest."""
        identity = commit_id(snapshot.step, self._guard.epoch, secrets.token_hex(4))
        contents = {path: source() if callable(source) else source for path, source in snapshot.files.items()}
        digest = snapshot.weights_digest() if callable(snapshot.weights_digest) else snapshot.weights_digest
        files = self._store.upload_all(self._urls.checkpoint(identity), contents)
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
            topology=Topology(world_size=self._terms.world_size, ranks_per_node=self._terms.ranks_per_node),
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
        every = self._terms.keep_every
        kept = [
            commit
            for index, commit in enumerate(line)
            if index < self._terms.keep_last - 1 or (every > 0 and commit.step % every == 0)
        ]
        return kept[:HEAD_ANCESTORS]


# --- loading ----------------------------------------------------------------------------------------------------------


def load_checkpoint(store: Store, ref: CheckpointRef, into: Path | None = None) -> Restored:
    """One checkpoint by reference (another stage's, say), verified while it loads. Raises CheckpointFailure."""
    urls = StageUrls(ref.stage_url)
    commit = HeadCommit(id=ref.commit, step=0, tokens=0, manifest_digest=ref.manifest_digest)
    restored, problems = load_commit(store, urls, commit, into)
    if restored is None:
        raise CheckpointFailure(f"checkpoint {ref.commit} of {ref.stage_url}: {'; '.join(problems)}")
    return restored


def load_commit(
    store: Store, urls: StageUrls, commit: HeadCommit, into: Path | None
) -> tuple[Restored | None, list[str]]:
    """Load and verify one commit: manifest, sizes, every part. Returns None and the problems if it is corrupt."""
    manifest, problem = _read_manifest(store, urls, commit)
    if manifest is None:
        return None, [problem]
    files, problems = store.download_all(urls.checkpoint(commit.id), manifest.files, into)
    return (None, problems) if problems else (Restored(commit, manifest, files), [])


def _read_manifest(store: Store, urls: StageUrls, commit: HeadCommit) -> tuple[CheckpointManifest | None, str]:
    url = urls.manifest(commit.id)
    problem = ""
    for _ in range(2):
        found = store.find(url)
        if found is None:
            problem = "manifest.json is gone"
            continue
        if sha256_digest(found.data) != commit.manifest_digest:
            problem = "manifest.json does not match the digest that names it"
            continue
        try:
            manifest = parse(CheckpointManifest, found.data, url)
        except ContractError as error:
            return None, str(error)
        wrong = manifest_problem(manifest)
        return (None, wrong) if wrong else (manifest, "")
    return None, problem


def manifest_problem(manifest: CheckpointManifest) -> str:
    """What is inconsistent inside a manifest; empty when nothing is."""
    problem = manifest_coverage_problem(manifest.files)
    if not problem and root_digest(manifest.files) != manifest.root_digest:
        return "rootDigest does not match the parts"
    return problem


def manifest_coverage_problem(files: Sequence[StoredFile]) -> str:
    """The first file whose name leaves the folder, or that its parts do not cover exactly; empty: none."""
    for file in files:
        if file.path.startswith("/") or ".." in file.path.split("/"):
            return f"{file.path!r} is not a name below the prefix"
        end = 0
        for part in file.parts:
            if part.offset != end:
                return f"the parts of {file.path} do not cover it"
            end += part.bytes
        if end != file.bytes:
            return f"the parts of {file.path} do not cover it"
    return ""


def stored_problems(store: Store, prefix: str, files: Sequence[StoredFile]) -> list[str]:
    """Level *stored*: compares sizes and checksums as the store reports them, without reading the files."""
    problems = []
    for file in files:
        try:
            info = store.info(f"{prefix}/{file.path}")
        except NotFoundError:
            problems.append(f"{file.path} is gone")
            continue
        if info.bytes != file.bytes:
            problems.append(f"{file.path} has {info.bytes} bytes, not {file.bytes}")
        elif info.sha256 is not None and info.sha256 != stored_checksum(file.parts):
            problems.append(f"{file.path}: the store reports another checksum")
    return problems


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


# --- digests ----------------------------------------------------------------------------------------------------------


def root_digest(files: Iterable[StoredFile]) -> str:
    """SHA-256 over the lines ``<path> <part sha256>`` of all files in order."""
    lines = "".join(f"{file.path} {part.sha256}\n" for file in files for part in file.parts)
    return sha256_digest(lines.encode())


@dataclass
class WeightsDigest:
    """SHA-256 over every parameter, sorted by name: ``<name> <dtype> <d0>x<d1>…`` and a newline, then its bytes.

    ``dtype`` in safetensors' words (``F32``, ``BF16``); bytes little endian, row-major. A tied parameter counts once,
    under the name under which it is saved.
    """

    _entries: list[tuple[str, str, Sequence[int], bytes | bytearray | memoryview]] = field(default_factory=list)

    def add(self, name: str, dtype: str, shape: Sequence[int], data: bytes | bytearray | memoryview) -> None:
        """Add one parameter; order does not matter. ``data`` must stay unchanged until ``digest``."""
        self._entries.append((name, dtype, shape, data))

    def digest(self) -> str:
        """``sha256:<hex>``."""
        total = hashlib.sha256()
        for name, dtype, shape, data in sorted(self._entries, key=lambda entry: entry[0]):
            total.update(f"{name} {dtype} {'x'.join(str(size) for size in shape)}\n".encode())
            total.update(data)
        return f"sha256:{total.hexdigest()}"
