"""Runs the wrapper with made-up work: ``python fake_job.py <behaviour>``."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from longhaul_trainer.contracts import HeadCommit, ModelRef, StepEvent, now
from longhaul_trainer.errors import NumericsFailure
from longhaul_trainer.process.job import Job
from longhaul_trainer.process.outcome import Trained
from longhaul_trainer.process.wrapper import main
from longhaul_trainer.store.client import sha256_digest
from protocol_support import resume, snapshot


def step(job: Job, number: int) -> None:
    event = StepEvent(
        type="step",
        at=now(),
        step=number,
        tokens=number * 100,
        loss=1.0,
        valid_tokens=100,
        learning_rate=0.1,
        gradient_norm=1.0,
        seconds=0.01,
    )
    job.step_done(event)


def trained(job: Job, commit: HeadCommit) -> Trained:
    model = ModelRef(url=f"{job.urls.url}/export/{commit.id}", digest=sha256_digest(b"model"))
    return Trained(commit, model, sha256_digest(b"weights"), 2.0, 1.0)


def finish(spec: Any, job: Job) -> Trained:
    """Two steps, a commit after each."""
    print("hello from the worker")
    job.phase("load")
    manager = job.checkpoint_manager(spec, fingerprint={"torch": "fake"})
    resume(manager)
    job.phase("first-step")
    for number in (1, 2):
        step(job, number)
        with job.measure("save"):
            manager.save(snapshot(number))
    commit = manager.wait()
    assert commit is not None
    job.phase("export")
    return trained(job, commit)


def until_stopped(spec: Any, job: Job) -> Trained:
    """Steps until asked to stop, then saves."""
    manager = job.checkpoint_manager(spec, fingerprint={})
    resume(manager)
    number = 0
    while True:
        number += 1
        step(job, number)
        job.check()
        if job.stop_requested:
            job.save_before_stopping(manager, partial(snapshot, number))
            raise job.stopped()
        time.sleep(0.02)


def die(spec: Any, job: Job) -> Trained:
    step(job, 3)
    print("about to be killed")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def crash(spec: Any, job: Job) -> Trained:
    ctypes.string_at(0)
    raise AssertionError


def leave(spec: Any, job: Job) -> Trained:
    os._exit(3)


def fail(spec: Any, job: Job) -> Trained:
    raise NumericsFailure("the loss is not finite at step 4")


def run_out(spec: Any, job: Job) -> Trained:
    raise MemoryError("no room")


def puzzle(spec: Any, job: Job) -> Trained:
    raise KeyError("nobody expected this")


def ignore_signals(spec: Any, job: Job) -> Trained:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    step(job, 1)
    time.sleep(600)
    raise AssertionError


if __name__ == "__main__":
    sys.exit(main(globals()[sys.argv[1]]))
