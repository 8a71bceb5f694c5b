"""The wrapper: one outcome per attempt, however the worker ends, and the exit code that goes with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from longhaul_trainer.contracts import AttemptFile, EventFile, Outcome, TrainSpec, dump, now, parse
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import (
    AccessError,
    AddressError,
    ClockError,
    DataFailure,
    Fenced,
    Stopped,
    UnavailableError,
)
from longhaul_trainer.process.mailbox import Mailbox
from longhaul_trainer.process.outcome import classify
from longhaul_trainer.store.client import Store, sha256_digest
from protocol_support import DATASET, RECIPE, claim, commit_of, head_of

SCRIPT = Path(__file__).with_name("fake_job.py")


def train_spec(urls: StageUrls) -> TrainSpec:
    ref = {"url": "s3://test/model", "digest": RECIPE}
    return TrainSpec.model_validate(
        {
            "schema": "longhaul.job-spec/1",
            "kind": "train",
            "run": "r",
            "stage": "01-a",
            "stageUrl": urls.url,
            "recipeDigest": RECIPE,
            "runtime": {"device": "cpu", "precision": "float32", "strict": True, "threads": 1},
            "events": {"flushSeconds": 0.05, "flushBytes": 1048576},
            "initialize": {"from": "model", "model": ref},
            "config": ref,
            "tokenizer": ref,
            "data": {
                "dataset": {"manifestUrl": "s3://test/dataset/manifest.json", "digest": DATASET},
                "sequenceLengthTokens": 16,
                "globalBatchTokens": 16,
                "steps": 2,
                "documentMasking": True,
            },
            "objective": "all-tokens",
            "optimizer": {"beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weightDecay": 0.1, "clipNorm": 1.0},
            "schedule": {"peak": 1e-3, "floor": 1e-4, "warmupTokens": 0, "totalTokens": 32},
            "seed": 0,
            "checkpoints": {"everySteps": 1, "keepLast": 2, "keepEvery": 0},
        }
    )


class Launcher:
    """Starts attempts of one stage and looks at what they leave."""

    def __init__(self, prefix: str, bytecode: Path) -> None:
        self._bytecode = bytecode
        self.store = Store.from_environment()
        self.urls = StageUrls(f"{prefix}/runs/r/stages/01-a")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.store.put(self.urls.spec, dump(train_spec(self.urls)))

    def start(self, behaviour: str, *, epoch: int | None = None, **environment: str) -> subprocess.Popen[bytes]:
        variables = {
            "LONGHAUL_SPEC_URL": self.urls.spec,
            "LONGHAUL_EPOCH": str(claim(self.store, self.urls) if epoch is None else epoch),
            "LONGHAUL_GRACE_SECONDS": "20",
            # Compile imports once for all these processes, whatever the environment says about it.
            "PYTHONPYCACHEPREFIX": str(self._bytecode),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), behaviour],
            env={**os.environ, **variables, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.processes.append(process)
        return process

    def run(self, behaviour: str, **options: Any) -> int:
        process = self.start(behaviour, **options)
        process.communicate(timeout=600)
        return process.returncode

    def outcome(self, epoch: int = 1) -> Any:
        return parse(Outcome, self.store.get(self.urls.outcome(epoch)).data)

    def log(self, epoch: int = 1) -> str:
        return self.store.get(self.urls.log(epoch)).data.decode()

    def events(self, epoch: int = 1) -> list[Any]:
        listed = [item.url for item in self.store.list(f"{self.urls.attempt(epoch)}/events")]
        return [event for url in listed for event in parse(EventFile, self.store.get(url).data).events]

    def steps(self, epoch: int = 1) -> int:
        return sum(event.type == "step" for event in self.events(epoch))


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def launcher(prefix: str, bytecode: Path) -> Iterator[Launcher]:
    made = Launcher(prefix, bytecode)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 300
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


class TestAFinishedJob:
    def test_leaves_outcome_log_events_and_exit_code_zero(self, launcher: Launcher) -> None:
        assert launcher.run("finish") == 0
        outcome = launcher.outcome()
        assert (outcome.result, outcome.step, outcome.tokens) == ("trained", 2, 200)
        assert outcome.commit == commit_of(launcher.store, launcher.urls)
        assert outcome.fingerprint == {"torch": "fake"}
        assert "hello from the worker" in launcher.log()
        kinds = [getattr(event, "phase", event.type) for event in launcher.events()]
        assert [kind for kind in kinds if kind != "commit"] == [
            "import", "load", "first-step", "step", "step", "step", "export",
        ]  # fmt: skip
        assert kinds.count("commit") == 2

    def test_passes_the_output_on(self, launcher: Launcher) -> None:
        process = launcher.start("finish")
        output, _ = process.communicate(timeout=600)
        assert b"hello from the worker" in output

    def test_is_not_done_again_under_the_same_epoch(self, launcher: Launcher) -> None:
        assert launcher.run("finish") == 0
        before = launcher.outcome()
        assert launcher.run("puzzle", epoch=1) == 0
        assert launcher.outcome() == before


class TestAFailedJob:
    @pytest.mark.parametrize(
        ("behaviour", "failure_class", "code", "message"),
        [
            ("fail", "numerics", 67, "the loss is not finite at step 4"),
            ("run_out", "out-of-memory", 68, "no room"),
            ("puzzle", "unknown", 1, "nobody expected this"),
            ("die", "unknown", 1, "killed by SIGKILL"),
            ("crash", "unknown", 1, "killed by SIGSEGV"),
            ("leave", "unknown", 1, "exited with code 3"),
        ],
    )
    def test_has_an_outcome_with_class_and_message(
        self, launcher: Launcher, behaviour: str, failure_class: str, code: int, message: str
    ) -> None:
        assert launcher.run(behaviour) == code
        outcome = launcher.outcome()
        assert (outcome.result, outcome.class_) == ("ended", failure_class)
        assert message in outcome.message

    def test_tells_exception_and_frames_for_the_signature(self, launcher: Launcher) -> None:
        launcher.run("fail")
        assert launcher.outcome().exception == "longhaul_trainer.errors.NumericsFailure"
        assert launcher.outcome().frames[-1] == "fake_job.py:fail"
        assert "NumericsFailure: the loss is not finite" in launcher.log()

    def test_a_worker_killed_without_a_word_is_known_as_far_as_it_got(self, launcher: Launcher) -> None:
        launcher.run("die")
        assert (launcher.outcome().step, launcher.outcome().tokens) == (3, 300)
        assert "about to be killed" in launcher.log()

    def test_a_spec_that_is_not_there_or_not_valid_is_the_users_error(self, launcher: Launcher) -> None:
        launcher.store.put(launcher.urls.spec, b'{"kind": "train"}')
        assert launcher.run("finish") == 64
        assert "$.stageUrl" in launcher.outcome().message
        assert launcher.run("finish", LONGHAUL_SPEC_URL=f"{launcher.urls.url}/other.json") == 64

    def test_wrong_credentials_end_it_after_the_stated_time_with_what_was_heard(self, launcher: Launcher) -> None:
        """No outcome can be written: what the output says last is what an operator gets to see."""
        process = launcher.start("finish", AWS_SECRET_ACCESS_KEY="wrong", LONGHAUL_STORE_REFUSAL_SECONDS="1")
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 69
        last = output.decode().strip().splitlines()[-1]
        assert last.startswith("longhaul: the outcome could not be written")
        assert "the store answered 403 SignatureDoesNotMatch" in last
        assert "; trying again" in output.decode()

    @pytest.mark.parametrize("variable", ["LONGHAUL_SPEC_URL", "LONGHAUL_EPOCH", "LONGHAUL_GRACE_SECONDS"])
    def test_a_bad_environment_is_named(self, launcher: Launcher, variable: str) -> None:
        process = launcher.start("finish", epoch=None, **{variable: "nonsense"})
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 64
        assert variable.encode() in output

    def test_a_store_that_is_not_there_is_a_store_failure(self, launcher: Launcher) -> None:
        code = launcher.run("finish", LONGHAUL_S3_ENDPOINT="http://127.0.0.1:9", LONGHAUL_STORE_PATIENCE_SECONDS="0.2")
        assert code == 69


class TestAStoppedJob:
    def test_sigterm_saves_and_ends_as_preempted(self, launcher: Launcher) -> None:
        process = launcher.start("until_stopped")
        assert eventually(lambda: launcher.steps() > 0)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=600)
        assert process.returncode == 75
        outcome = launcher.outcome()
        assert (outcome.class_, outcome.exception) == ("preempted", "")
        assert commit_of(launcher.store, launcher.urls).step == outcome.step

    def test_sigterm_before_the_worker_is_ready_is_not_lost(self, launcher: Launcher) -> None:
        process = launcher.start("until_stopped")
        assert eventually(lambda: Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text() != "")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=600)
        assert process.returncode == 75
        assert launcher.outcome().class_ == "preempted"

    def test_one_that_does_not_stop_is_killed_within_the_grace_and_accounted_for(self, launcher: Launcher) -> None:
        process = launcher.start("ignore_signals", LONGHAUL_GRACE_SECONDS="1")
        assert eventually(lambda: launcher.steps() > 0)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=600)
        assert process.returncode == 75
        assert "did not stop within the grace of 1 s" in launcher.outcome().message

    def test_a_wrapper_that_is_killed_takes_its_worker_with_it(self, launcher: Launcher) -> None:
        process = launcher.start("until_stopped")
        assert eventually(lambda: launcher.steps() > 0)
        worker = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        process.kill()
        process.communicate(timeout=600)
        assert eventually(lambda: not Path(f"/proc/{worker}").exists())
        assert launcher.store.find(launcher.urls.outcome(1)) is None


class TestAZombie:
    def test_a_paused_trainer_whose_successor_has_started_ends_fenced(self, launcher: Launcher) -> None:
        zombie = launcher.start("until_stopped")
        assert eventually(lambda: launcher.steps() > 0)
        worker = int(Path(f"/proc/{zombie.pid}/task/{zombie.pid}/children").read_text().split()[0])
        os.kill(worker, signal.SIGSTOP)
        assert launcher.run("finish") == 0
        committed = head_of(launcher.store, launcher.urls)
        os.kill(worker, signal.SIGCONT)
        zombie.communicate(timeout=600)
        assert zombie.returncode == 76
        assert launcher.outcome(1).class_ == "fenced"
        assert head_of(launcher.store, launcher.urls) == committed

    def test_a_second_process_of_one_attempt_leaves_it_alone(self, launcher: Launcher) -> None:
        first = launcher.start("until_stopped")
        assert eventually(lambda: launcher.steps() > 0)
        assert launcher.run("until_stopped", epoch=1) == 76
        assert launcher.store.find(launcher.urls.outcome(1)) is None
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=600)
        assert launcher.outcome(1).class_ == "preempted"


class TestASpecThatWasChangedSinceTheClaim:
    def start_knowing(self, launcher: Launcher, spec_digest: str) -> int:
        """The next attempt, claimed for a spec with this digest; its exit code."""
        epoch = claim(launcher.store, launcher.urls)
        commit = head_of(launcher.store, launcher.urls).commit
        file = AttemptFile(
            schema_="longhaul.attempt/1",
            epoch=epoch,
            owner="test",
            spec_digest=spec_digest,
            started_from=commit,
            skip_steps=[],
            mean_seconds_between_interruptions=None,
            created_at=now(),
        )
        launcher.store.create(launcher.urls.attempt_file(epoch), dump(file))
        return launcher.run("finish", epoch=epoch)

    def test_ends_the_attempt_that_would_resume_by_it(self, launcher: Launcher) -> None:
        spec = launcher.store.get(launcher.urls.spec).data
        assert launcher.run("crash") != 0
        launcher.store.put(
            launcher.urls.spec, spec.replace(b'"seed":0', b'"seed":1').replace(b'"seed": 0', b'"seed": 1')
        )
        changed = launcher.store.get(launcher.urls.spec).data
        assert changed != spec
        assert self.start_knowing(launcher, sha256_digest(spec)) == 64
        outcome = launcher.outcome(2)
        assert outcome.class_ == "user-error"
        assert outcome.message == (
            f"{launcher.urls.spec} was changed: it has the digest {sha256_digest(changed)}, and attempt 2 was claimed "
            f"for {sha256_digest(spec)}; put the object back as it was, then retry"
        )
        launcher.store.put(launcher.urls.spec, spec)
        assert self.start_knowing(launcher, sha256_digest(spec)) == 0


class TestFailureClasses:
    @pytest.mark.parametrize(
        ("error", "failure_class"),
        [
            (Fenced("x"), "fenced"),
            (DataFailure("x"), "data"),
            (UnavailableError("x"), "store"),
            (AccessError("x"), "store"),
            (ClockError("x"), "infrastructure"),
            (AddressError("x"), "user-error"),
            (Stopped("x", "cancelled"), "cancelled"),
            (OSError(28, "No space left on device"), "infrastructure"),
            (RuntimeError("CUDA error: an illegal memory access was encountered"), "infrastructure"),
            (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out-of-memory"),
            (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out-of-memory"),
            (ValueError("x"), "unknown"),
        ],
    )
    def test_of_an_exception(self, error: BaseException, failure_class: str) -> None:
        assert classify(error) == failure_class

    def test_a_wrapped_failure_keeps_its_class(self) -> None:
        try:
            try:
                raise DataFailure("shard 3")
            except DataFailure as error:
                raise RuntimeError("the loader died") from error
        except RuntimeError as error:
            assert classify(error) == "data"


def test_the_mailbox_keeps_the_latest_whole_message() -> None:
    box = Mailbox()
    assert box.read() == b""
    for message in (b"one", b"two, longer", b"3"):
        box.write(message)
        assert box.read() == message
