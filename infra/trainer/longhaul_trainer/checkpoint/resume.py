"""Reading checkpoints: every part verified while it loads, walking back along ``HEAD``'s line past what is corrupt.

What disagrees is read twice before it counts as corrupt, and is then marked (quarantined), not moved. Store errors are
no evidence about contents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from longhaul_trainer.checkpoint.attempt import AttemptTerms
from longhaul_trainer.checkpoint.head import HeadGuard
from longhaul_trainer.contracts import (
    CheckpointManifest,
    CheckpointRef,
    ContractError,
    HeadCommit,
    Quarantine,
    StoredFile,
    dump,
    now,
    parse,
)
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import CheckpointFailure, NotFoundError, PreconditionFailedError, UserFailure
from longhaul_trainer.store.client import Store, sha256_digest
from longhaul_trainer.store.digests import manifest_coverage_problem, root_digest
from longhaul_trainer.store.transfers import download_all, stored_checksum


@dataclass(frozen=True)
class Restored:
    """A verified checkpoint. ``files``: in memory, or local paths when it was loaded into a folder."""

    commit: HeadCommit
    manifest: CheckpointManifest
    files: Mapping[str, memoryview | Path]
    skipped: Sequence[str] = ()
    """Commits passed over because they are quarantined or were found corrupt."""
    line: Sequence[HeadCommit] = ()
    """The commit and those of its ancestors that ``HEAD`` names, newest first."""


@dataclass(frozen=True)
class Resumption:
    """Looks for the checkpoint that an attempt goes on from.

    ``recipe_digest`` and ``dataset_digest``: what a checkpoint must have been made of. ``terms``: what ``HEAD`` must still
    name, if the attempt knows.
    """

    store: Store
    urls: StageUrls
    guard: HeadGuard
    recipe_digest: str
    dataset_digest: str
    on_warning: Callable[[str], None] = lambda message: None
    terms: AttemptTerms = field(default_factory=AttemptTerms)

    def newest(self, into: Path | None) -> Restored | None:
        """The newest checkpoint that verifies, following ``HEAD``'s own account of its line, never a listing.

        None only where ``HEAD`` itself says that nothing was committed (it was created empty, or an operator's claim
        set it back to zero). Corrupt checkpoints are quarantined and passed over. Raises CheckpointFailure when there
        are commits but none verifies, or ``HEAD`` was changed since the attempt was claimed, UserFailure when it belongs
        to another recipe or dataset, Fenced, StoreError.
        """
        head, _ = self.guard.read()
        self.terms.require(head)
        if head.commit is None:
            return None
        line = [head.commit, *head.ancestors]
        skipped: list[str] = []
        for index, commit in enumerate(line):
            restored = self._try(commit, into)
            if restored is not None:
                self._refuse_foreign(restored.manifest)
                return Restored(restored.commit, restored.manifest, restored.files, skipped, line[index:])
            skipped.append(commit.id)
        raise CheckpointFailure(f"no checkpoint verifies; tried {', '.join(skipped)}")

    def _try(self, commit: HeadCommit, into: Path | None) -> Restored | None:
        if self.store.find(self.urls.quarantine(commit.id)) is not None:
            self.on_warning(f"checkpoint {commit.id} is quarantined; trying its parent")
            return None
        restored, problems = load_commit(self.store, self.urls, commit, into)
        if restored is None:
            self.guard.read()  # a newer attempt's retention may have deleted it: that is no corruption
            self._quarantine(commit, problems)
        return restored

    def _quarantine(self, commit: HeadCommit, problems: list[str]) -> None:
        self.on_warning(f"checkpoint {commit.id} is corrupt ({'; '.join(problems)}); trying its parent")
        mark = Quarantine(
            schema_="longhaul.quarantine/1",
            id=commit.id,
            epoch=self.guard.epoch,
            problems=problems,
            found_at=now(),
        )
        with suppress(PreconditionFailedError):  # someone marked it before
            self.store.create(self.urls.quarantine(commit.id), dump(mark))

    def _refuse_foreign(self, manifest: CheckpointManifest) -> None:
        if manifest.recipe_digest != self.recipe_digest:
            raise UserFailure(f"checkpoint {manifest.id} was made by another recipe ({manifest.recipe_digest})")
        if manifest.data_position.dataset_digest != self.dataset_digest:
            raise UserFailure(f"checkpoint {manifest.id} was trained on another dataset manifest")


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
    files, problems = download_all(store, urls.checkpoint(commit.id), manifest.files, into)
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
