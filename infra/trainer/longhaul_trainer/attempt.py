"""What holds for one attempt alone: `attempt.json`, which the control plane writes before it launches the job."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .contracts import AttemptFile, ContractError, StepWindow, parse
from .errors import UserFailure
from .layout import StageUrls
from .store import Store


@dataclass(frozen=True)
class AttemptTerms:
    """Steps whose update is left out, and how often the run is interrupted (seconds; None: not known)."""

    skip_steps: tuple[StepWindow, ...] = ()
    mean_seconds_between_interruptions: float | None = None

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
    """The terms of attempt `epoch`; without an `attempt.json` nothing is left out and nothing is known.

    Raises UserFailure when the object breaks its contract or is another attempt's, StoreError.
    """
    url = urls.attempt_file(epoch)
    found = store.find(url)
    if found is None:
        return AttemptTerms()
    try:
        file: AttemptFile = parse(AttemptFile, found.data, url)
    except ContractError as error:
        raise UserFailure(str(error)) from None
    if file.epoch != epoch:
        raise UserFailure(f"{url} is of epoch {file.epoch}")
    return AttemptTerms(tuple(file.skip_steps), file.mean_seconds_between_interruptions)
