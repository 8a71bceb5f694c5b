"""The wrapper: PID 1 of a training container, or a plain local process. ``python -m longhaul_trainer`` runs it.

It reads the spec, forks a worker that does the job, forwards SIGTERM, passes the worker's output on, and when the
worker is gone, however it went, writes the attempt's one outcome and exits with the class's exit code. The worker is a
fork after light imports: a crash, an out-of-memory kill or a hung CUDA context takes the worker, not the account of it,
and the fork costs milliseconds where a second interpreter would cost its imports again.

Environment: ``LONGHAUL_SPEC_URL``, ``LONGHAUL_EPOCH``, ``LONGHAUL_GRACE_SECONDS`` (default 30), and what ``store/client.py``
reads.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from longhaul_trainer.checkpoint.attempt import require_spec
from longhaul_trainer.contracts import (
    EXIT_CODES,
    ContractError,
    EvaluateSpec,
    JobSpec,
    Outcome,
    SecondsByLabel,
    TrainSpec,
    dump,
    now,
    parse,
)
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import (
    DuplicateProcess,
    JobFailure,
    NotFoundError,
    PreconditionFailedError,
    Stopped,
    StoreError,
    UserFailure,
)
from longhaul_trainer.process.job import Job
from longhaul_trainer.process.mailbox import Boxes
from longhaul_trainer.process.outcome import AnyOutcome, Attempt, Evaluated, Progress, Trained, ended, outcome_of
from longhaul_trainer.store.client import Store

_TAIL_BYTES = 256 * 1024
_LAST_WORDS_SECONDS = 30.0  # for writing down that the store didn't do what it was asked
_COMPLAINT_SECONDS = 30.0  # between two lines about it
_DUPLICATE = b"duplicate"
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Run = Callable[[TrainSpec | EvaluateSpec, Job], Trained | Evaluated]
"""What does the work of a spec. It is called in the worker, and imports there what takes long."""


class Complaints:
    """Says of a store in trouble what is heard of it, now and then: an operator should read it while it lasts."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._next = 0.0

    def hear(self, text: str) -> None:
        """Takes what the store says; empty: nothing is wrong any more."""
        if text and time.monotonic() >= self._next:
            self._next = time.monotonic() + _COMPLAINT_SECONDS
            self._say(f"{text}; trying again")


@dataclass(frozen=True)
class Launch:
    """What the environment says."""

    spec_url: str
    epoch: int
    grace_seconds: float

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Launch:
        """Raises UserFailure that names what is missing or wrong."""
        spec_url = environment.get("LONGHAUL_SPEC_URL", "")
        if not spec_url.startswith("s3://"):
            raise UserFailure("LONGHAUL_SPEC_URL must be s3://bucket/key of the stage's spec.json")
        try:
            epoch = int(environment.get("LONGHAUL_EPOCH", ""))
            grace = float(environment.get("LONGHAUL_GRACE_SECONDS", "30"))
        except ValueError:
            raise UserFailure("LONGHAUL_EPOCH and LONGHAUL_GRACE_SECONDS must be numbers") from None
        if epoch < 1 or grace < 0:
            raise UserFailure("LONGHAUL_EPOCH starts at 1, LONGHAUL_GRACE_SECONDS at 0")
        return cls(spec_url, epoch, grace)


def with_heard(text: str, heard: str) -> str:
    """`text`, and what the store last said, if it was in trouble."""
    return f"{text}; last heard from the store: {heard}" if heard else text


def main(run: Run) -> int:
    """Run one attempt, whose work is `run`; returns the exit code."""
    started = time.monotonic()
    started_at = now()
    try:
        launch = Launch.from_environment(os.environ)
        store = Store.from_environment()
    except JobFailure as failure:
        with suppress(OSError):  # a disk without room for the log changes nothing about the end
            os.write(2, f"longhaul: {failure}\n".encode())
        return EXIT_CODES[failure.failure_class]
    return _Attempt(launch, store, run, started, started_at).run()


class _Attempt:
    """The wrapper's side of one attempt."""

    def __init__(self, launch: Launch, store: Store, run: Run, started: float, started_at: str) -> None:
        self._launch, self._store, self._run = launch, store, run
        self._started, self._started_at = started, started_at
        self._urls = StageUrls(launch.spec_url.rsplit("/", 1)[0])
        self._tail = bytearray()
        self._worker: int | None = None
        self._stop_at: float | None = None
        store.on_trouble = Complaints(self._say).hear

    def run(self) -> int:
        """Do the attempt; returns the exit code."""
        for number in _STOP_SIGNALS:
            signal.signal(number, self._stop)
        try:
            spec = self._read_spec()
            finished = self._store.find(self._urls.outcome(self._launch.epoch))
        except JobFailure as failure:
            self._say(str(failure))
            if isinstance(failure, StoreError):
                self._store.limit_patience(_LAST_WORDS_SECONDS)
            return self._conclude(outcome_of(self._attempt(_NOTHING), failure))
        if finished is not None:
            self._say("this attempt has an outcome already; an epoch runs once")
            return _exit_code(parse(Outcome, finished.data))
        boxes = Boxes()
        return self._conclude(self._outcome(boxes, self._supervise(spec, boxes)))

    def _stop(self, *_: object) -> None:
        """SIGTERM: the worker gets the word, and from here on everything has only the grace."""
        if self._stop_at is None:
            self._stop_at = time.monotonic()
            self._store.limit_patience(self._launch.grace_seconds * 0.9)
        if self._worker is not None:
            with suppress(ProcessLookupError):
                os.kill(self._worker, signal.SIGTERM)

    def _read_spec(self) -> TrainSpec | EvaluateSpec:
        url = self._launch.spec_url
        try:
            data = self._store.get(url).data
            require_spec(self._store, self._urls, self._launch.epoch, url, data)
            spec = parse(JobSpec, data, url)
        except NotFoundError:
            raise UserFailure(f"{url} is not there") from None
        except ContractError as error:
            raise UserFailure(str(error)) from None
        self._urls = StageUrls(spec.stage_url)
        return spec

    # --- the worker ---

    def _supervise(self, spec: TrainSpec | EvaluateSpec, boxes: Boxes) -> _Death:
        """Fork the worker and see it through."""
        output, worker_output = os.pipe()
        oom_kills, wrapper = _oom_kills(), os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        self._store.forget_connections()
        # A signal that arrives before the worker has its own handlers must reach it later, not be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        pid = os.fork()
        if pid == 0:
            _die_with(wrapper)
            os.close(output)
            for stream in (1, 2):
                os.dup2(worker_output, stream)
            _work(self._run, spec, self._launch, self._store, boxes, self._started)
            os._exit(0)
        os.close(worker_output)
        self._worker = pid
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        if self._stop_at is not None:
            self._stop()
        status, killed = self._watch(pid, output)
        self._worker = None
        return _Death(status, killed, _oom_kills() > oom_kills)

    def _watch(self, pid: int, output: int) -> tuple[int, bool]:
        """Pass on the worker's output until it is gone. Its wait status, and whether its grace ran out."""
        killed = False
        wake = _wakeup_on_signals()
        os.set_blocking(output, False)
        with selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ)
            selector.register(output, selectors.EVENT_READ)
            while (status := _reap(pid)) is None:
                left = self._grace_left()
                if left is not None and left <= 0 and not killed:
                    killed = True
                    os.kill(pid, signal.SIGKILL)
                for key, _ in selector.select(None if killed else left):
                    if key.fd == wake:
                        os.read(wake, 512)
                    elif not self._pass_on(output):
                        selector.unregister(output)
        while self._pass_on(output):
            pass
        return status, killed

    def _grace_left(self) -> float | None:
        """Seconds until the worker is killed; some of the grace is left for writing the outcome. None: not stopping."""
        if self._stop_at is None:
            return None
        grace = self._launch.grace_seconds
        return max(self._stop_at + max(grace - 2.0, grace * 0.8) - time.monotonic(), 0.0)

    def _pass_on(self, output: int) -> bool:
        """Copy some of the worker's output to our own; False when there is none."""
        try:
            data = os.read(output, 65536)
        except BlockingIOError:
            return False
        self._tail += data
        del self._tail[:-_TAIL_BYTES]
        view = memoryview(data)
        with suppress(OSError):  # whoever read our output may be gone; the work goes on
            while view:
                view = view[os.write(1, view) :]
        return bool(data)

    # --- the end ---

    def _outcome(self, boxes: Boxes, death: _Death) -> AnyOutcome | None:
        """The worker's own word, or what its death says; None when another process runs the attempt."""
        message = boxes.outcome.read()
        if message == _DUPLICATE:
            return None
        if message:
            return parse(Outcome, message)
        heard = boxes.heard.read().decode(errors="replace")
        return death.outcome(self._attempt(_progress(boxes.progress.read())), self._launch.grace_seconds, heard)

    def _attempt(self, progress: Progress) -> Attempt:
        return Attempt(self._launch.epoch, self._started_at, progress)

    def _conclude(self, outcome: AnyOutcome | None) -> int:
        """Write log and outcome; an outcome that can't be written still decides the exit code."""
        if outcome is None:
            self._say("another process runs this attempt; its outcome is left to it")
            return EXIT_CODES["fenced"]
        try:
            if self._tail:
                self._store.put(self._urls.log(self._launch.epoch), bytes(self._tail))
            self._store.create(self._urls.outcome(self._launch.epoch), dump(outcome))
        except PreconditionFailedError:
            self._say("this attempt has another outcome already")
        except StoreError as error:
            self._say(f"the outcome could not be written: {error}")
        return _exit_code(outcome)

    def _say(self, text: str) -> None:
        line = f"longhaul: {text}\n".encode()
        self._tail += line
        with suppress(OSError):
            os.write(2, line)


@dataclass(frozen=True)
class _Death:
    """How the worker went: its wait status, whether its grace ran out, whether the kernel's memory killer struck."""

    status: int
    killed: bool
    out_of_memory: bool

    def outcome(self, attempt: Attempt, grace_seconds: float, heard: str) -> AnyOutcome:
        """The outcome of a worker that left none. ``heard``: what the store last said to it, if that was in trouble."""
        if self.killed:
            how = f"did not stop within the grace of {grace_seconds:g} s and was killed"
            return ended(attempt, "preempted", with_heard(how, heard))
        code = os.waitstatus_to_exitcode(self.status)
        if code == -signal.SIGKILL and self.out_of_memory:
            return ended(attempt, "out-of-memory", "the kernel killed the worker because memory ran out")
        if code < 0:
            how = f"the worker was killed by {signal.Signals(-code).name}"
        else:
            how = f"the worker exited with code {code} and said nothing"
        return ended(attempt, "unknown", with_heard(how, heard))


def _wakeup_on_signals() -> int:
    """A file descriptor that becomes readable with every signal, so that waiting for output never misses one."""
    read, write = os.pipe()
    for end in (read, write):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def _reap(worker: int) -> int | None:
    """The worker's wait status once it is gone. As PID 1 we are also the one to reap other orphans."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == worker:
            return status
        if pid == 0:
            return None


def _exit_code(outcome: AnyOutcome) -> int:
    return EXIT_CODES[outcome.class_ if outcome.result == "ended" else "done"]


# --- inside the worker ------------------------------------------------------------------------------------------------


def _work(run: Run, spec: TrainSpec | EvaluateSpec, launch: Launch, store: Store, boxes: Boxes, started: float) -> None:
    """Do the job and leave its outcome in the mailbox. Never raises."""
    started_at = now()
    signal.set_wakeup_fd(-1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    job: Job | None = None
    result: Trained | Evaluated | BaseException
    complaints = Complaints(lambda text: print(f"longhaul: {text}", flush=True))

    def hear(text: str) -> None:
        boxes.heard.write(text.encode()[:4000])
        complaints.hear(text)
        if job is not None:
            job.hear(text)

    store.on_trouble = hear
    try:
        job = Job(
            spec,
            launch.epoch,
            store,
            grace_seconds=max(launch.grace_seconds - 4.0, launch.grace_seconds * 0.6),
            started=started,
            on_progress=lambda progress: boxes.progress.write(_progress_bytes(progress)),
        )
        _stop_on_signals(job)
        job.events.phase("import")
        job.events.start()
        result = run(spec, job)
    except BaseException as error:
        if not isinstance(error, Stopped):
            traceback.print_exc()
        result = error
    if isinstance(result, Stopped):
        result = Stopped(with_heard(str(result), store.heard), result.failure_class)
    duplicate = isinstance(result, DuplicateProcess) or (job and isinstance(job.events.failure, DuplicateProcess))
    progress = job.progress() if job is not None else _NOTHING
    outcome = outcome_of(Attempt(launch.epoch, started_at, progress), result)
    boxes.outcome.write(_DUPLICATE if duplicate else dump(outcome))
    if job is not None:
        job.events.close(min(job.grace_left(), 60.0))
    sys.stdout.flush()
    sys.stderr.flush()


def _stop_on_signals(job: Job) -> None:
    def stop(number: int, _: object) -> None:
        job.request_stop(Stopped(f"stopped by {signal.Signals(number).name}"))

    for number in _STOP_SIGNALS:
        signal.signal(number, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


def _die_with(wrapper: int) -> None:
    """Have the kernel kill this process when the wrapper dies (Linux): no job is left without its account."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != wrapper:
        os._exit(1)


def _oom_kills() -> int:
    """How often the kernel has killed for memory in this process's cgroup (version 2); 0 where that is unknown."""
    with suppress(OSError, ValueError, StopIteration):
        group = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        for folder in (Path("/sys/fs/cgroup", group[3:].lstrip("/")), Path("/sys/fs/cgroup")):
            events = folder / "memory.events"
            if events.exists():
                counts = dict(line.split() for line in events.read_text().splitlines())
                return int(counts["oom_kill"])
    return 0


_NOTHING = Progress(0, 0, {}, SecondsByLabel(import_=0, load=0, first_step=0, step=0, save=0, evaluate=0, export=0))


def _progress_bytes(progress: Progress) -> bytes:
    seconds = progress.seconds.model_dump()
    return json.dumps([progress.step, progress.tokens, progress.fingerprint, seconds]).encode()


def _progress(message: bytes) -> Progress:
    if not message:
        return _NOTHING
    step, tokens, fingerprint, seconds = json.loads(message)
    return Progress(step, tokens, fingerprint, SecondsByLabel.model_validate(seconds, by_alias=True))
