"""What a job reports while it runs: numbered, create-only event files; and what it hears back: ``HEAD`` and the lease.

A flush thread writes a file when ``flush_seconds`` have passed or ``flush_bytes`` have gathered. At every flush, with
or without events, it re-reads ``HEAD`` and the lease. It never gives up on a store in trouble while the job runs:
events wait in memory, training goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from longhaul_trainer.checkpoint.head import HeadGuard
from longhaul_trainer.contracts import (
    ContractError,
    EventFile,
    EventLimits,
    JobEvent,
    JobPhase,
    Lease,
    LogEvent,
    LogLevel,
    PhaseEvent,
    dump,
    now,
    parse,
)
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import DuplicateProcess, JobFailure, PreconditionFailedError, StoreError
from longhaul_trainer.store.client import Store

_ENVELOPE_BYTES = 200  # the event file around its events


class EventSink:
    """Gathers events of one attempt and writes them. ``emit`` may be called from any thread and never blocks on I/O."""

    def __init__(
        self,
        store: Store,
        urls: StageUrls,
        guard: HeadGuard,
        limits: EventLimits,
        *,
        on_lease_expired: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._store, self._urls, self._guard, self._limits = store, urls, guard, limits
        self._next = 1
        self._lease = LeaseWatch(guard.epoch)
        self._on_lease_expired = on_lease_expired
        self._waiting: list[tuple[JobEvent, int]] = []
        self._file: tuple[bytes, int] | None = None  # the file under way and its number of events
        self._bytes = 0
        self._wake = threading.Condition()
        self._closing = False
        self._failure: JobFailure | None = None
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Start the flush thread."""
        self._thread.start()

    def emit(self, event: JobEvent) -> None:
        """Queue one event."""
        size = len(dump(event, compact=True))
        with self._wake:
            self._waiting.append((event, size))
            self._bytes += size
            if self._bytes >= self._limits.flush_bytes:
                self._wake.notify()

    def log(self, message: str, level: LogLevel = "info") -> None:
        """Queue a line for the operator."""
        self.emit(LogEvent(type="log", at=now(), level=level, message=message))

    def phase(self, phase: JobPhase) -> None:
        """Queue that the job entered ``phase``."""
        self.emit(PhaseEvent(type="phase", at=now(), phase=phase))

    @property
    def asks(self) -> bool:
        """Whether it is this sink that asks the store: in the flush thread."""
        return threading.current_thread() is self._thread

    @property
    def failure(self) -> JobFailure | None:
        """Why the job must end, once a flush has found out: Fenced, or a broken ``HEAD``."""
        return self._failure

    def close(self, seconds: float) -> bool:
        """Write what is left, within ``seconds``. Returns whether everything was written."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive() and not self._waiting

    # --- the flush thread ---

    def _run(self) -> None:
        closing = False
        first = True
        while self._failure is None and not closing:
            # The first file is written at once: being create-only, it claims the attempt for this process.
            closing = False if first else self._wait()
            first = False
            try:
                self._flush()
                if not closing:
                    self._listen()
            except StoreError:
                self._lease.miss()  # the store's trouble is not the job's: events stay queued
            except JobFailure as failure:
                self._failure = failure

    def _wait(self) -> bool:
        until = time.monotonic() + self._limits.flush_seconds
        with self._wake:
            while not self._closing and self._bytes < self._limits.flush_bytes:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._wake.wait(left)
            return self._closing

    def _flush(self) -> None:
        """Write everything that waits. A file once begun keeps its bytes until the store confirms them: a try whose
        answer was lost may have landed, and another text under the same number would look like another writer's."""
        while (file := self._file or self._gather()) is not None:
            self._file = file
            data, count = file
            try:
                self._store.create(self._urls.event_file(self._guard.epoch, self._next), data)
            except PreconditionFailedError:
                raise DuplicateProcess(f"another process writes the events of epoch {self._guard.epoch}") from None
            self._file = None
            self._next += 1
            with self._wake:
                self._bytes -= sum(size for _, size in self._waiting[:count])
                del self._waiting[:count]

    def _gather(self) -> tuple[bytes, int] | None:
        """The next file: at most ``flush_bytes`` large, but for a single larger event."""
        left = self._limits.flush_bytes - _ENVELOPE_BYTES
        events: list[JobEvent] = []
        with self._wake:
            for event, size in self._waiting:
                left -= size
                if events and left < 0:
                    break
                events.append(event)
        if not events:
            return None
        file = EventFile(schema_="longhaul.events/1", epoch=self._guard.epoch, index=self._next, events=events)
        return dump(file, compact=True), len(events)

    def _listen(self) -> None:
        self._guard.read()
        found = self._store.find(self._urls.lease)
        try:
            lease = None if found is None else parse(Lease, found.data, self._urls.lease)
        except ContractError as error:
            self.log(str(error), "warning")
            return
        unchanged = self._lease.look(lease, time.monotonic())
        if unchanged is not None:
            self._on_lease_expired(
                f"nobody has renewed the lease for {unchanged:.0f} s: nobody watches this job any more"
            )


class LeaseWatch:
    """Whether the lease of an attempt is still renewed, by what this process itself has seen of it, in its own time.

    Only time between two looks that both succeeded counts, and of each such span no more than a third of what the lease
    holds for: neither an outage of the store nor a machine that stood still lets it run out.
    """

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._renewal = ""
        self._unchanged = 0.0
        self._looked_at: float | None = None

    def look(self, lease: Lease | None, at: float) -> float | None:
        """Takes what was read at monotonic time `at`. The seconds for which nothing changed, once the lease has run
        out; else None, as for a lease that is missing or another attempt's."""
        before, self._looked_at = self._looked_at, at
        if lease is None or lease.epoch != self._epoch or lease.renewal != self._renewal:
            self._renewal = "" if lease is None or lease.epoch != self._epoch else lease.renewal
            self._unchanged = 0.0
            return None
        if before is not None:
            self._unchanged += min(at - before, lease.seconds / 3)
        return self._unchanged if self._unchanged > lease.seconds else None

    def miss(self) -> None:
        """It could not be read: nobody here knows whether it was renewed meanwhile."""
        self._looked_at = None
