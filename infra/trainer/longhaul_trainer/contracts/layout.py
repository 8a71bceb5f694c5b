"""Keys of the object store, as in ``src/contracts/layout.ts``. All values are ``s3://bucket/key`` URLs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageUrls:
    """Where a stage keeps things: ``StageUrls('s3://bucket/…/runs/r/stages/02-stage-1')``."""

    url: str

    @property
    def spec(self) -> str:
        return f"{self.url}/spec.json"

    @property
    def head(self) -> str:
        return f"{self.url}/HEAD"

    @property
    def lease(self) -> str:
        return f"{self.url}/lease.json"

    @property
    def checkpoints(self) -> str:
        return f"{self.url}/checkpoints"

    def checkpoint(self, commit: str) -> str:
        """Prefix of one checkpoint's files."""
        return f"{self.url}/checkpoints/{commit}"

    def manifest(self, commit: str) -> str:
        return f"{self.checkpoint(commit)}/manifest.json"

    def quarantine(self, commit: str) -> str:
        return f"{self.checkpoint(commit)}/quarantine.json"

    def attempt(self, epoch: int) -> str:
        return f"{self.url}/attempts/{epoch:04d}"

    def attempt_file(self, epoch: int) -> str:
        """What the control plane tells an attempt, before its launch."""
        return f"{self.attempt(epoch)}/attempt.json"

    def event_file(self, epoch: int, index: int) -> str:
        return f"{self.attempt(epoch)}/events/{index:06d}.json"

    def outcome(self, epoch: int) -> str:
        return f"{self.attempt(epoch)}/outcome.json"

    def log(self, epoch: int) -> str:
        return f"{self.attempt(epoch)}/log.txt"

    def export(self, commit: str) -> str:
        """Prefix of the Hugging Face folder made from one commit."""
        return f"{self.url}/export/{commit}"

    def record(self, key: str, sample: str) -> str:
        return f"{self.url}/records/{key}/{sample}.json"

    def records(self, key: str) -> str:
        return f"{self.url}/records/{key}"

    @property
    def results(self) -> str:
        return f"{self.url}/results.json"


def commit_id(step: int, epoch: int, nonce: str) -> str:
    """Name of a checkpoint: ``<step>-<epoch>-<8 hex digits>``."""
    return f"{step:08d}-{epoch:04d}-{nonce}"


def epoch_of(commit: str) -> int:
    """The epoch in a commit id."""
    return int(commit.split("-")[1])


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``."""
    if not url.startswith("s3://") or "/" not in url[5:]:
        raise ValueError(f"expected s3://bucket/key, got {url!r}")
    bucket, key = url[5:].split("/", 1)
    return bucket, key
