"""What ``train.run(spec, job)`` and ``evaluate.run(spec, job)`` get to work with.

The two entry points are functions of ``(spec, job)``. They return ``Trained`` or ``Evaluated``, or raise: a
``JobFailure`` (see ``errors.py``) says its class itself, other exceptions are classified in ``outcome.py``. A sketch::

    def run(spec: TrainSpec, job: Job) -> Trained:
        job.phase("load")                                 # from here on, seconds count as loading
        manager = job.checkpoint_manager(spec, fingerprint=…)
        restored = Resumption(…).newest(folder)           # None: initialise from spec.initialize
        manager.follow(restored)
        job.phase("first-step")
        for step in …:
            for microbatch in …:
                if job.stop_requested:                    # SIGTERM, or an expired lease
                    …discard the accumulation…
                    job.save_before_stopping(manager, lambda: snapshot)   # if it fits the grace
                    raise job.stopped()
            job.check()                                   # Fenced, a failed background save or flush
            job.step_done(StepEvent(...))                 # event, progress, and phase("step") after the first
            if schedule.due(step, manager.save_seconds):
                with job.measure("save"):
                    t0 = time.monotonic(); manager.save(snapshot(), stall_started=t0)
        commit = manager.wait()
        job.phase("export")
        model = publish_model(job.store, job.urls.export(commit.id), files, origin)
        return Trained(...)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from longhaul_trainer.checkpoint.head import HeadGuard
from longhaul_trainer.checkpoint.manager import CheckpointManager, Snapshot, Terms
from longhaul_trainer.contracts import (
    EvaluateSpec,
    Fingerprint,
    JobPhase,
    SecondsByLabel,
    StepEvent,
    Topology,
    TrainSpec,
    now,
)
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import Stopped, StoreError
from longhaul_trainer.process.events import EventSink
from longhaul_trainer.process.outcome import Progress
from longhaul_trainer.process.trouble import TroubleWarnings
from longhaul_trainer.store.client import Store

Label = JobPhase
_PHASES: tuple[JobPhase, ...] = ("import", "load", "first-step", "step", "save", "evaluate", "export")


class Stopwatch:
    """Seconds by label. One label runs at a time; ``measure`` interrupts it."""

    def __init__(self, label: Label, started: float | None = None) -> None:
        """``started``: ``time.monotonic()`` of the process's start, if that was earlier."""
        self._seconds: dict[Label, float] = dict.fromkeys(_PHASES, 0.0)
        self._label = label
        self._since = time.monotonic() if started is None else started

    def switch(self, label: Label) -> Label:
        """Time counts as ``label`` from now on; returns what it counted as before."""
        at = time.monotonic()
        self._seconds[self._label] += at - self._since
        before, self._label, self._since = self._label, label, at
        return before

    def seconds(self) -> SecondsByLabel:
        """What has been counted up to now."""
        self.switch(self._label)
        return SecondsByLabel(
            import_=self._seconds["import"],
            load=self._seconds["load"],
            first_step=self._seconds["first-step"],
            step=self._seconds["step"],
            save=self._seconds["save"],
            evaluate=self._seconds["evaluate"],
            export=self._seconds["export"],
        )


class Job:
    """One attempt of a job, inside its worker process.

    Attributes: ``spec``, ``epoch``, ``store``, ``urls`` (keys of the stage), ``guard`` (reads ``HEAD``), ``events``.
    """

    def __init__(
        self,
        spec: TrainSpec | EvaluateSpec,
        epoch: int,
        store: Store,
        *,
        grace_seconds: float,
        started: float | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        """``started``: ``time.monotonic()`` when the process started."""
        self.spec, self.epoch, self.store = spec, epoch, store
        self.urls = StageUrls(spec.stage_url)
        self.guard = HeadGuard(store, self.urls, epoch)
        self.events = EventSink(store, self.urls, self.guard, spec.events, on_lease_expired=self._lease_expired)
        self._grace = grace_seconds
        self._stopwatch = Stopwatch("import", started)
        self._on_progress = on_progress
        self._started_at = now()
        self._stop: Stopped | None = None
        self._stop_deadline = math.inf
        self._step, self._tokens = 0, 0
        self._fingerprint: Fingerprint = {}
        self._manager: CheckpointManager | None = None
        self._phase: JobPhase = "import"
        self._trouble = TroubleWarnings(self.warn, self._waiting)

    # --- where the time goes ---

    def phase(self, phase: JobPhase) -> None:
        """The job enters ``phase``: an event, and the label for seconds from now on."""
        self._phase = phase
        if self._stopwatch.switch(phase) != phase:
            self.events.phase(phase)
        self._report()

    @contextmanager
    def measure(self, label: Label) -> Iterator[None]:
        """Seconds inside count as ``label``, without an event."""
        before = self._stopwatch.switch(label)
        try:
            yield
        finally:
            self._stopwatch.switch(before)

    # --- how far it is ---

    def set_fingerprint(self, fingerprint: Fingerprint) -> None:
        """State what decides the numerics of this attempt."""
        self._fingerprint = dict(fingerprint)
        self._report()

    def set_progress(self, step: int, tokens: int) -> None:
        """State the step and tokens of the stage, after a resume say."""
        self._step, self._tokens = step, tokens
        self._report()

    def step_done(self, event: StepEvent) -> None:
        """An optimizer step is done. After the first one the phase is ``step``."""
        self.events.emit(event)
        self._step, self._tokens = event.step, event.tokens
        self.phase("step")

    def warn(self, message: str) -> None:
        """A line that the operator should see."""
        self.events.log(message, "warning")

    def hear(self, text: str) -> None:
        """Takes what a store in trouble says (``Store.on_trouble``), and warns of what waits for it."""
        # The flush thread's own trouble would be told of by events: only once it is over.
        if not text or not self.events.asks:
            self._trouble.hear(text)

    def _waiting(self) -> str:
        """What waits for the store, if something is asked of it in vain. Only what is followed by an event of its own,
        which says that the wait is over."""
        step = self._manager.uncommitted_step if self._manager is not None else None
        if step is not None:
            return f"checkpoint of step {step}"
        return {"export": "the export", "evaluate": "the evaluation"}.get(self._phase, "")

    def _report(self) -> None:
        self._on_progress(self.progress())

    def progress(self) -> Progress:
        """Step, tokens, fingerprint and seconds so far."""
        return Progress(self._step, self._tokens, self._fingerprint, self._stopwatch.seconds())

    # --- whether to go on ---

    @property
    def stop_requested(self) -> bool:
        """Whether to stop at the next micro-batch: SIGTERM came, or the lease ran out."""
        return self._stop is not None

    def request_stop(self, reason: Stopped) -> None:
        """Ask the job to stop within its grace. Takes no lock: called from a signal handler."""
        if self._stop is None:
            self._stop_deadline = time.monotonic() + self._grace
            self._stop = reason
            self.store.limit_patience(self._grace)

    def _lease_expired(self, message: str) -> None:
        self.request_stop(Stopped(message, "cancelled"))

    def grace_left(self) -> float:
        """Seconds until the job is killed; infinite while no stop is requested."""
        return self._stop_deadline - time.monotonic()

    def stopped(self) -> Stopped:
        """The exception to raise once the job has stopped as requested."""
        return self._stop if self._stop is not None else Stopped("the job stopped by itself", "unknown")

    def check(self) -> None:
        """Raise what the background found out: Fenced, a broken ``HEAD``, or what a background save raised."""
        if self.events.failure is not None:
            raise self.events.failure
        if self._manager is not None:
            self._manager.raise_failed_save()

    # --- checkpoints ---

    def checkpoint_manager(self, spec: TrainSpec, *, fingerprint: Fingerprint) -> CheckpointManager:
        """The stage's checkpoints; commits become events."""
        self.set_fingerprint(fingerprint)
        terms = Terms(
            recipe_digest=spec.recipe_digest,
            dataset_digest=spec.data.dataset.digest,
            fingerprint=fingerprint,
            checkpoints=spec.checkpoints,
            topology=Topology(world_size=1, ranks_per_node=1),
        )
        self._manager = CheckpointManager(
            self.store,
            self.urls,
            self.guard,
            terms,
            on_commit=self.events.emit,
            on_warning=self.warn,
        )
        return self._manager

    def save_before_stopping(self, manager: CheckpointManager, snapshot: Callable[[], Snapshot | None]) -> None:
        """On a requested stop: finish the save in flight, then make one more if there is something new to save
        (``snapshot`` returns None otherwise) and it is expected to fit the grace. Otherwise the last commit stays, and
        so it does when the store is in trouble: whoever was told to stop has not failed."""
        with self.measure("save"):
            try:
                if not manager.wait_for(self.grace_left()):
                    self.warn("the save in flight does not fit the grace; the last commit stands")
                elif manager.save_seconds is not None and self.grace_left() < 1.5 * manager.save_seconds:
                    self.warn("the grace is too short for another save; the last commit stands")
                elif (latest := snapshot()) is not None:
                    manager.save(latest)
                    if not manager.wait_for(self.grace_left()):
                        self.warn("the last save does not fit the grace; the commit before it stands")
            except StoreError as error:
                self.warn(f"the last commit stands: {error}")
                stopped = self.stopped()
                self._stop = Stopped(f"{stopped}; the last commit stands: {error}", stopped.failure_class)
