"""What holds for one attempt alone: `attempt.json`, which the control plane writes before it launches the job."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from longhaul_trainer.contracts import AttemptFile, ContractError, Head, HeadCommit, StepWindow, parse
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import CheckpointFailure, UserFailure
from longhaul_trainer.store.client import Store, sha256_digest


def _named(commit: HeadCommit | None) -> str:
    return "no commit" if commit is None else f"{commit.id} with the manifest {commit.manifest_digest}"


@dataclass(frozen=True)
class AttemptTerms:
    """What `attempt.json` says; without one nothing is left out and nothing is known."""

    file: AttemptFile | None = None

    @property
    def skip_steps(self) -> Sequence[StepWindow]:
        """Steps whose update is left out."""
        return () if self.file is None else self.file.skip_steps

    @property
    def mean_seconds_between_interruptions(self) -> float | None:
        """How often the run is interrupted; None: not known."""
        return None if self.file is None else self.file.mean_seconds_between_interruptions

    def require(self, head: Head) -> None:
        """Raises CheckpointFailure when ``HEAD`` names something else than when the attempt's epoch was claimed: nobody but
        this attempt may move it."""
        if self.file is None:
            return
        if head.commit != self.file.started_from:
            raise CheckpointFailure(
                f"HEAD names {_named(head.commit)}, but this attempt begins at {_named(self.file.started_from)}"
            )
        if self.file.ancestors is not None and head.ancestors != self.file.ancestors:
            raise CheckpointFailure(f"HEAD names other commits behind {_named(head.commit)} than when it was claimed")

    def window_of(self, step: int) -> StepWindow | None:
        """The window that leaves out optimizer step `step`; None: it is taken."""
        return next((window for window in self.skip_steps if window.first <= step <= window.last), None)

    def contradiction(self, step: int, skipped: Collection[int]) -> str:
        """How a checkpoint at `step`, made leaving out the steps `skipped`, differs from one made under these terms."""
        wanted = {at for window in self.skip_steps for at in range(window.first, min(window.last, step) + 1)}
        told = [
            ("was trained on steps that are to be left out", sorted(wanted - set(skipped))),
            ("left out steps that are to be taken", sorted(set(skipped) - wanted)),
        ]
        return "; ".join(f"it {what}: {', '.join(map(str, steps))}" for what, steps in told if steps)


def read_attempt(store: Store, urls: StageUrls, epoch: int) -> AttemptTerms:
    """The terms of attempt `epoch`.

    Raises UserFailure when the object breaks its contract or is another attempt's, StoreError.
    """
    return AttemptTerms(_find_attempt(store, urls, epoch))


def require_spec(store: Store, urls: StageUrls, epoch: int, spec_url: str, spec: bytes) -> None:
    """Holds the spec's bytes against what attempt `epoch` was claimed for; an attempt that tells no digest takes any.

    Raises UserFailure when they are others: somebody has changed the object since; and as `read_attempt` does.
    """
    file = _find_attempt(store, urls, epoch)
    wanted = None if file is None else file.spec_digest
    if wanted is not None and sha256_digest(spec) != wanted:
        raise UserFailure(
            f"{spec_url} was changed: it has the digest {sha256_digest(spec)}, and attempt {epoch} was claimed for "
            f"{wanted}; put the object back as it was, then retry"
        )


def _find_attempt(store: Store, urls: StageUrls, epoch: int) -> AttemptFile | None:
    url = urls.attempt_file(epoch)
    found = store.find(url)
    if found is None:
        return None
    try:
        file = parse(AttemptFile, found.data, url)
    except ContractError as error:
        raise UserFailure(str(error)) from None
    if file.epoch != epoch:
        raise UserFailure(f"{url} is of epoch {file.epoch}")
    return file
