"""Whole training jobs while things break around them: processes, networks, disks, data, the store."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from conftest import S3Server
from job_support import LENGTH, ROWS, Sample, StageMaker, StageRun, make_stage, samples
from longhaul_trainer.checkpoint.state import MOMENTS
from longhaul_trainer.contracts import EXIT_CODES, Lease, dump, now
from longhaul_trainer.errors import Stopped
from longhaul_trainer.model.config import config_json, json_bytes
from longhaul_trainer.model.parameters import WEIGHTS
from longhaul_trainer.store.client import Store, sha256_digest
from protocol_support import remove, tamper
from s3_proxy import PASS, RESET, Proxy, Request, Verdict, at, nth, proxy_before, store_answer
from trainer_support import small_config

MANY_STEPS, EVERY = 60, 10
MANY = {
    "data.steps": MANY_STEPS,
    "schedule.totalTokens": MANY_STEPS * ROWS * LENGTH,
    "checkpoints.everySteps": EVERY,
}


def rows() -> list[Sample]:
    return samples(ROWS * MANY_STEPS, LENGTH, documents=3)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    with proxy_before(s3_server.endpoint) as made:
        yield made


@pytest.fixture
def run(stage: StageMaker) -> StageRun:
    """A stage of `MANY_STEPS` steps with a checkpoint every `EVERY`."""
    made: StageRun = stage(MANY, rows=rows())
    return made


@pytest.fixture(scope="module")
def undisturbed(s3_server: S3Server) -> str:
    """The weights that the stage ends with when nothing happens to it."""
    return make_stage(Store.from_environment(), "s3://test/faults", MANY, rows=rows()).run_inside().weights_digest


def through(
    proxy: Proxy, run: StageRun, environment: Mapping[str, str] | None = None, *, grace_seconds: float = 20.0
) -> subprocess.Popen[bytes]:
    """Launches an attempt that reaches the store through the proxy only."""
    return run.start({"LONGHAUL_S3_ENDPOINT": proxy.endpoint, **(environment or {})}, grace_seconds=grace_seconds)


def weights_written(request: Request) -> bool:
    return request.writes(WEIGHTS)


def freeze(process: subprocess.Popen[bytes]) -> None:
    """The whole attempt stands still, as in a paused virtual machine."""
    os.killpg(process.pid, signal.SIGSTOP)


class TestAnAttemptKilledInsideASave:
    """SIGKILL of everything at once. The next attempt goes on from the last commit, to the same bits."""

    @pytest.mark.parametrize(
        ("moment", "committed"),
        [
            (weights_written, EVERY),
            (lambda request: request.writes("manifest.json"), EVERY),
            (lambda request: request.moves_head, EVERY),
        ],
        ids=["while files are uploaded", "before the manifest", "between manifest and HEAD"],
    )
    def test_leaves_the_commit_before(
        self, run: StageRun, proxy: Proxy, undisturbed: str, moment: Callable[[Request], bool], committed: int
    ) -> None:
        process = through(proxy, run)
        dead = threading.Event()

        def kill() -> None:
            run.kill(process)
            dead.set()

        proxy.rule = at(nth(2, moment), kill, then=RESET)
        assert dead.wait(120)
        assert run.commit().step == committed
        trained = run.run_inside()
        assert run.steps()[0].step == committed + 1
        assert trained.weights_digest == undisturbed

    def test_after_head_has_moved_the_commit_is_made(self, run: StageRun, proxy: Proxy, undisturbed: str) -> None:
        process = through(proxy, run)
        dead = threading.Event()
        second = nth(2, lambda request: request.moves_head)

        def kill(request: Request) -> None:
            if second(request):
                run.kill(process)
                dead.set()

        proxy.afterwards = kill
        assert dead.wait(120)
        assert run.commit().step == 2 * EVERY
        assert run.run_inside().weights_digest == undisturbed
        assert run.steps()[0].step == 2 * EVERY + 1


class TestAnAttemptKilledBehindItsLastCommit:
    """What belongs to the last step is made by the next attempt, which has nothing left to train."""

    @pytest.mark.parametrize(
        "lost", ["/model.safetensors", "/outcome.json"], ids=["before the export", "before the outcome"]
    )
    def test_leaves_the_export_to_the_next_one(self, run: StageRun, proxy: Proxy, undisturbed: str, lost: str) -> None:
        process = through(proxy, run)
        dead = threading.Event()

        def behind_the_last_commit(request: Request) -> bool:
            return request.method == "PUT" and request.key.endswith(lost) and run.commit().step == MANY_STEPS

        def kill() -> None:
            run.kill(process)
            dead.set()

        proxy.rule = at(nth(1, behind_the_last_commit), kill, then=RESET)
        assert dead.wait(120)
        trained = run.run_inside()
        assert run.steps() == []
        assert (trained.commit, trained.weights_digest) == (run.commit(), undisturbed)
        assert run.config_of(trained.model)["vocab_size"] > 0


class TestAZombie:
    """A paused attempt wakes up after its successor was launched. It must not publish, and must end as fenced."""

    def test_frozen_inside_a_save_changes_nothing_when_it_wakes(
        self, run: StageRun, proxy: Proxy, undisturbed: str
    ) -> None:
        zombie = through(proxy, run)
        frozen = threading.Event()

        def stop() -> None:
            freeze(zombie)
            frozen.set()

        proxy.rule = at(nth(2, weights_written), stop)
        assert frozen.wait(120)
        assert run.run_inside().weights_digest == undisturbed
        head = run.head()
        os.killpg(zombie.pid, signal.SIGCONT)
        assert run.finish(zombie, epoch=1).class_ == "fenced"
        assert zombie.returncode == EXIT_CODES["fenced"]
        assert run.head() == head

    def test_whose_move_of_head_was_delayed_on_its_way_fails_to_commit(
        self, run: StageRun, proxy: Proxy, undisturbed: str
    ) -> None:
        on_its_way, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            on_its_way.set()
            go_on.wait(300)

        zombie = through(proxy, run)
        proxy.rule = at(nth(2, lambda request: request.moves_head), hold)
        assert on_its_way.wait(120)
        assert run.run_inside().weights_digest == undisturbed
        head = run.head()
        go_on.set()
        assert run.finish(zombie, epoch=1).class_ == "fenced"
        assert run.head() == head

    def test_a_second_process_of_the_same_attempt_leaves_it_to_the_first(
        self, run: StageRun, proxy: Proxy, undisturbed: str
    ) -> None:
        waiting, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            waiting.set()
            go_on.wait(300)

        first = through(proxy, run)
        proxy.rule = at(nth(2, lambda request: request.moves_head), hold)
        assert waiting.wait(120)
        second = run.start(epoch=1)
        second.communicate(timeout=1200)
        assert second.returncode == EXIT_CODES["fenced"]
        assert run.store.find(run.urls.outcome(1)) is None
        go_on.set()
        assert run.finish(first).weights_digest == undisturbed


class TestAGraceThatIsTooShort:
    def test_for_the_save_in_flight_leaves_the_last_commit(self, run: StageRun, proxy: Proxy, undisturbed: str) -> None:
        stuck, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            stuck.set()
            go_on.wait(300)

        process = through(proxy, run, grace_seconds=3.0)
        proxy.rule = at(nth(2, weights_written), hold)
        assert stuck.wait(120)
        process.send_signal(signal.SIGTERM)
        outcome = run.finish(process)
        go_on.set()
        assert (outcome.class_, process.returncode) == ("preempted", EXIT_CODES["preempted"])
        assert run.commit().step == EVERY
        assert run.run_inside().weights_digest == undisturbed

    def test_for_another_save_makes_none(self, run: StageRun, proxy: Proxy, undisturbed: str) -> None:
        """A save is known to take a second; the grace is shorter."""
        process = through(proxy, run, grace_seconds=1.0)
        second = threading.Event()

        def slow(request: Request) -> Verdict:
            if request.writes(WEIGHTS):
                time.sleep(1.0)
            if request.moves_head:
                process.send_signal(signal.SIGTERM)
                second.set()
            return PASS

        proxy.rule = slow
        assert second.wait(120)
        outcome = run.finish(process)
        assert outcome.class_ == "preempted"
        assert run.commit().step == EVERY
        assert len(run.store.folders(run.urls.checkpoints)) == 1
        assert any("grace is too short" in event.message for event in run.events() if event.type == "log")
        assert run.run_inside().weights_digest == undisturbed

    def test_to_load_a_checkpoint_in_is_not_waited_out(self, run: StageRun, proxy: Proxy, undisturbed: str) -> None:
        """SIGTERM while the checkpoint is still on its way: the job stops there and then."""
        with pytest.raises(Stopped):
            run.run_inside(stop_after=EVERY)
        loading, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            loading.set()
            go_on.wait(300)

        proxy.rule = at(lambda request: request.method == "GET" and request.key.endswith(WEIGHTS), hold)
        process = through(proxy, run, grace_seconds=100.0)
        assert loading.wait(120)
        process.send_signal(signal.SIGTERM)
        outcome = run.finish(process)
        go_on.set()
        assert (outcome.class_, outcome.step) == ("preempted", 0)
        assert "SIGTERM" in outcome.message
        assert run.run_inside().weights_digest == undisturbed

    def test_while_the_store_is_down_it_is_a_preemption_all_the_same(
        self, run: StageRun, proxy: Proxy, undisturbed: str
    ) -> None:
        down = threading.Event()

        def fail(request: Request) -> Verdict:
            if request.writes(WEIGHTS):
                down.set()
            return 503 if down.is_set() and "/checkpoints/" in request.key else PASS

        process = through(proxy, run, grace_seconds=4.0)
        proxy.rule = fail
        assert down.wait(120)
        process.send_signal(signal.SIGTERM)
        assert run.finish(process).class_ == "preempted"
        assert run.head().commit is None
        assert run.run_inside().weights_digest == undisturbed


OUTAGE_SECONDS = float(os.environ.get("LONGHAUL_TEST_OUTAGE_SECONDS", "3"))
"""60 makes it an outage of a minute, which takes that much longer to test."""
OUTAGE_STEPS, OUTAGE_BATCH, OUTAGE_EVERY = round(200 * max(1.0, OUTAGE_SECONDS / 3)), 8, 2
OUTAGE = {
    "data.steps": OUTAGE_STEPS,
    "data.globalBatchTokens": OUTAGE_BATCH * LENGTH,
    "schedule.totalTokens": OUTAGE_STEPS * OUTAGE_BATCH * LENGTH,
    "checkpoints.everySteps": OUTAGE_EVERY,
}


@pytest.fixture(scope="module")
def without_outage(s3_server: S3Server) -> str:
    """The weights that the stage of the outages ends with when there is none."""
    text = samples(OUTAGE_BATCH * OUTAGE_STEPS, LENGTH, documents=3)
    run = make_stage(Store.from_environment(), "s3://test/outage", OUTAGE | {"checkpoints.everySteps": 500}, rows=text)
    return run.run_inside().weights_digest


class TestAnOutageOfTheStore:
    @pytest.mark.parametrize("trouble", [RESET, 503, 500, 403])
    def test_is_ridden_out_training_goes_on_and_commits_when_it_is_over(
        self, stage: StageMaker, proxy: Proxy, without_outage: str, trouble: Verdict
    ) -> None:
        run = stage(OUTAGE, rows=samples(OUTAGE_BATCH * OUTAGE_STEPS, LENGTH, documents=3))
        began: list[float] = []

        def fail(request: Request) -> Verdict:
            if request.writes(WEIGHTS) and not began:
                began.append(time.time())
            return trouble if began and time.time() < began[0] + OUTAGE_SECONDS else PASS

        proxy.rule = fail
        outcome = run.finish(through(proxy, run))
        assert outcome.result == "trained", outcome
        over = began[0] + OUTAGE_SECONDS
        during = [step.step for step in run.steps() if began[0] < moment(step.at) < over]
        assert during[-1] > 2 * OUTAGE_EVERY
        assert [step.step for step in run.steps()] == list(range(1, OUTAGE_STEPS + 1))
        commits = [(moment(event.at), event.step) for event in run.events() if event.type == "commit"]
        assert all(when > over for when, _ in commits)
        assert commits[0][1] == OUTAGE_EVERY
        assert outcome.weights_digest == without_outage

    def test_that_keeps_a_checkpoint_waiting_is_told_of_while_it_lasts(self, run: StageRun, proxy: Proxy) -> None:
        full = threading.Event()
        full.set()
        refused = store_answer(507, "InsufficientStorage")
        proxy.rule = lambda request: refused if full.is_set() and request.writes(WEIGHTS) else PASS
        process = through(proxy, run)
        until = time.monotonic() + 120
        while not (told := warnings(run)) and time.monotonic() < until:
            time.sleep(0.1)
        full.clear()
        assert run.finish(process).result == "trained"
        assert re.fullmatch(
            rf"checkpoint of step {EVERY} waits for the store since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC: "
            "the store answered 507 InsufficientStorage. "
            "What can be done: the store is full: make room or enlarge it",
            told[0],
        )
        assert set(warnings(run)) == set(told)

    def test_credentials_that_are_taken_away_end_it_without_a_commit(self, run: StageRun, proxy: Proxy) -> None:
        proxy.rule = lambda request: 403 if request.writes("manifest.json") else PASS
        process = through(proxy, run, {"LONGHAUL_STORE_REFUSAL_SECONDS": "1"})
        outcome = run.finish(process)
        assert (outcome.class_, process.returncode) == ("store", EXIT_CODES["store"])
        assert "AccessDenied" in outcome.message
        assert run.head().commit is None


def warnings(run: StageRun) -> list[str]:
    """What the newest attempt has warned of so far."""
    return [event.message for event in run.events() if event.type == "log" and event.level == "warning"]


def moment(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def flip(store: Store, url: str) -> None:
    tamper(store, url, lambda data: data[:-1] + bytes([data[-1] ^ 1]))


def truncate(store: Store, url: str) -> None:
    tamper(store, url, lambda data: data[: len(data) // 2])


class TestDamagedCheckpoints:
    """Damage in the newest checkpoint, and in the newest two: the job walks back, and ends in the same weights."""

    @pytest.mark.parametrize("damaged", [1, 2])
    @pytest.mark.parametrize("damage", [flip, truncate, remove], ids=["flipped byte", "truncated", "missing"])
    def test_are_walked_back_from(
        self, run: StageRun, undisturbed: str, damage: Callable[[Store, str], None], damaged: int
    ) -> None:
        with pytest.raises(Stopped):
            run.run_inside(stop_after=4 * EVERY)
        line = [run.commit(), *run.head().ancestors]
        for commit, file in zip(line[:damaged], (WEIGHTS, MOMENTS), strict=False):
            damage(run.store, f"{run.urls.checkpoint(commit.id)}/{file}")
        trained = run.run_inside()
        assert run.steps()[0].step == (4 - damaged) * EVERY + 1
        for index, commit in enumerate(line):
            assert (run.store.find(run.urls.quarantine(commit.id)) is not None) == (index < damaged)
        assert trained.weights_digest == undisturbed


class TestAFullDisk:
    def test_is_the_infrastructures_failure(self, stage: StageMaker, tmp_path: Path) -> None:
        with small_disk(tmp_path) as environment:
            run = stage()
            process = run.start(environment)
            outcome = run.finish(process)
        assert (outcome.class_, process.returncode) == ("infrastructure", EXIT_CODES["infrastructure"])
        assert "No space left on device" in outcome.message
        assert run.head().commit is None


@contextmanager
def small_disk(folder: Path) -> Iterator[dict[str, str]]:
    """A disk of 16 KiB for temporary files; where mounting is not allowed, writes that fail as on a full one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)], stderr=subprocess.DEVNULL, check=False
    )
    if mounted.returncode == 0:
        try:
            yield {"TMPDIR": str(folder)}
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        return
    (folder / "sitecustomize.py").write_text(
        f"import os\n\ndef full(*_):\n    raise OSError({errno.ENOSPC}, 'No space left on device')\n\nos.pwrite = full\n"
    )
    yield {"PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).resolve().parents[1]}"}


class TestPoisonInTheData:
    @pytest.mark.parametrize(
        ("spoil", "problem"),
        [
            (lambda row: Sample(np.full(LENGTH, 64), row.bounds), "token 64 is beyond the vocabulary"),
            (lambda row: Sample(row.tokens, [(0, 5), (6, LENGTH)]), "documents that don't cover"),
            (lambda row: Sample(row.tokens[:-1], row.bounds), "tokens instead of"),
        ],
        ids=["a token that is none", "documents with a gap", "a row cut short"],
    )
    def test_is_a_data_failure_that_names_the_row(
        self, stage: StageMaker, spoil: Callable[[Sample], Sample], problem: str
    ) -> None:
        text = rows()
        poisoned = 2 * EVERY * ROWS + 3
        text[poisoned] = spoil(text[poisoned])
        run = stage(MANY, rows=text)
        process = run.start()
        outcome = run.finish(process)
        assert (outcome.class_, process.returncode) == ("data", EXIT_CODES["data"])
        assert f"row {poisoned} has" in outcome.message
        assert problem in outcome.message
        assert run.commit().step == 2 * EVERY


class TestMemoryThatRunsOut:
    def test_is_told_as_such(self, stage: StageMaker) -> None:
        """A model that no machine has the memory for."""
        run = stage()
        large = small_config(length=LENGTH)
        large.intermediate_size = 2**45
        data = json_bytes(config_json(large))
        run.store.put(run.spec["config"]["url"], data)
        run.change({"config.digest": sha256_digest(data)})
        process = run.start()
        outcome = run.finish(process)
        assert (outcome.class_, process.returncode) == ("out-of-memory", EXIT_CODES["out-of-memory"])


class TestALeaseThatRanOut:
    def test_ends_a_job_that_nobody_watches_with_its_work_saved(
        self, run: StageRun, proxy: Proxy, undisturbed: str
    ) -> None:
        lease = dump(Lease(schema_="longhaul.lease/2", epoch=1, renewal="0" * 32, seconds=0.3, renewed_at=now()))
        process = through(proxy, run)
        go_on = threading.Event()

        def expire() -> None:
            run.store.put(run.urls.lease, lease)
            go_on.wait(2)  # the flush thread reads it meanwhile, whatever training does

        proxy.rule = at(nth(2, weights_written), expire)
        outcome = run.finish(process)
        assert (outcome.class_, process.returncode) == ("cancelled", EXIT_CODES["cancelled"])
        assert run.commit().step == outcome.step
        assert run.run_inside().weights_digest == undisturbed


class WrongClock:
    """The clock of a job's machine, which a test sets while the job runs."""

    def __init__(self, folder: Path, ahead_seconds: float) -> None:
        self._said = folder / "ahead"
        self.set(ahead_seconds)

    def set(self, ahead_seconds: float) -> None:
        """Whole at any moment: the job reads it whenever it asks what time it is."""
        new = self._said.with_suffix(".new")
        new.write_text(str(ahead_seconds))
        new.replace(self._said)

    @property
    def environment(self) -> dict[str, str]:
        tests = Path(__file__).resolve().parent
        return {"TEST_CLOCK_AHEAD": str(self._said), "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests / 'wrong_clock'}"}


HOUR = 3600.0


class TestAClockThatIsWrong:
    """S3's stores allow a quarter of an hour. Beyond that they refuse the machine, which then is at fault, not its work."""

    @pytest.mark.parametrize("ahead", [-600.0, 600.0])
    def test_by_as_much_as_stores_allow_changes_nothing(
        self, run: StageRun, undisturbed: str, tmp_path: Path, ahead: float
    ) -> None:
        outcome = run.finish(run.start(WrongClock(tmp_path, ahead).environment))
        assert (outcome.result, outcome.weights_digest) == ("trained", undisturbed)
        told = datetime.fromisoformat(outcome.ended_at).timestamp()
        assert abs(told - time.time() - ahead) < 500

    @pytest.mark.parametrize("ahead", [-HOUR, HOUR])
    def test_by_an_hour_ends_it_before_it_begins_and_the_next_attempt_has_all_to_do(
        self, run: StageRun, undisturbed: str, tmp_path: Path, ahead: float
    ) -> None:
        wrong = WrongClock(tmp_path, ahead).environment
        process = run.start({"LONGHAUL_STORE_REFUSAL_SECONDS": "1", **wrong})
        output, _ = process.communicate(timeout=600)
        assert process.returncode == EXIT_CODES["infrastructure"]
        assert b"RequestTimeTooSkewed" in output
        assert run.head().commit is None
        assert run.store.find(run.urls.outcome(1)) is None
        assert run.run_inside().weights_digest == undisturbed

    @pytest.mark.parametrize("ahead", [-HOUR, HOUR])
    def test_that_is_set_wrong_while_it_runs_costs_no_commit(
        self, run: StageRun, proxy: Proxy, undisturbed: str, tmp_path: Path, ahead: float
    ) -> None:
        clock = WrongClock(tmp_path, 0.0)
        second = nth(2, lambda request: request.moves_head)
        proxy.afterwards = lambda request: clock.set(ahead) if second(request) else None
        process = through(proxy, run, {"LONGHAUL_STORE_REFUSAL_SECONDS": "1", **clock.environment})
        output, _ = process.communicate(timeout=600)
        assert process.returncode == EXIT_CODES["infrastructure"]
        assert b"RequestTimeTooSkewed" in output
        assert run.commit().step == 2 * EVERY
        assert run.run_inside().weights_digest == undisturbed
        assert run.steps()[0].step == 2 * EVERY + 1

    @pytest.mark.parametrize("ahead", [-HOUR, HOUR])
    def test_that_is_set_right_again_in_time_is_ridden_out(
        self, run: StageRun, proxy: Proxy, undisturbed: str, tmp_path: Path, ahead: float
    ) -> None:
        clock = WrongClock(tmp_path, 0.0)
        second, refused = nth(2, lambda request: request.moves_head), threading.Event()
        enough = nth(5, lambda request: refused.is_set())

        def answered(request: Request) -> None:
            if second(request):
                clock.set(ahead)
                refused.set()
            elif enough(request):
                clock.set(0.0)

        proxy.afterwards = answered
        outcome = run.finish(through(proxy, run, clock.environment))
        assert refused.is_set()
        assert (outcome.result, outcome.weights_digest) == ("trained", undisturbed)
