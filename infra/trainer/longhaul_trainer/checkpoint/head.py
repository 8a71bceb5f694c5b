"""``HEAD`` of a stage: who may commit, and what is committed."""

from __future__ import annotations

import threading

from longhaul_trainer.contracts import ContractError, Head, parse
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import CheckpointFailure, DuplicateProcess, Fenced, NotFoundError
from longhaul_trainer.store.client import Store


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
