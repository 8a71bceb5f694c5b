"""Bad numbers and what follows: the attempt ends before the update, and the next one leaves the recorded window out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from job_support import LENGTH, ROWS, STEPS, Sample, StageMaker, StageRun, samples
from longhaul_trainer.checkpoint.attempt import AttemptTerms, read_attempt
from longhaul_trainer.checkpoint.resume import load_commit
from longhaul_trainer.contracts import CheckpointManifest, Numerics, StepWindow
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import NumericsFailure, Stopped, UserFailure
from longhaul_trainer.store.client import Store
from longhaul_trainer.train.optim import learning_rate
from longhaul_trainer.train.step import loss_limit
from protocol_support import tamper

MORE_STEPS = 12
MORE = {
    "data.steps": MORE_STEPS,
    "schedule.totalTokens": MORE_STEPS * ROWS * LENGTH,
    "checkpoints.keepLast": MORE_STEPS,
}
SKIP = {"skipSteps": [{"first": 5, "last": 6}]}


def with_noise_at(step: int) -> list[Sample]:
    """Rows to learn from, but for those of one step, in which nothing follows from anything."""
    rows = samples(ROWS * MORE_STEPS, LENGTH, documents=3)
    random = np.random.default_rng(1)
    for index in range((step - 1) * ROWS, step * ROWS):
        rows[index] = Sample(random.integers(0, 64, LENGTH), rows[index].bounds)
    return rows


def longer(stage: StageMaker, changes: dict[str, Any] | None = None, **options: Any) -> StageRun:
    """A stage of `MORE_STEPS` steps."""
    options.setdefault("rows", samples(ROWS * MORE_STEPS, LENGTH, documents=3))
    return stage(MORE | (changes or {}), **options)


def manifest_at(run: StageRun, step: int) -> CheckpointManifest:
    head = run.head()
    (commit,) = [c for c in [head.commit, *head.ancestors] if c is not None and c.step == step]
    restored, problems = load_commit(run.store, run.urls, commit, None)
    assert restored is not None, problems
    return restored.manifest


class TestALeftOutStep:
    def test_consumes_its_rows_and_tokens_and_changes_nothing(self, stage: StageMaker) -> None:
        run = longer(stage, {"checkpoints.everySteps": 2})
        run.terms = SKIP
        run.run_inside()
        before, after = manifest_at(run, 4), manifest_at(run, 6)
        assert after.weights_digest == before.weights_digest
        assert after.data_position.next_sample == 6 * ROWS
        assert after.tokens == 6 * ROWS * LENGTH
        assert manifest_at(run, 8).weights_digest != before.weights_digest

    def test_is_reported_and_the_schedule_goes_on(self, stage: StageMaker) -> None:
        run = longer(stage)
        run.terms = SKIP
        run.run_inside()
        schedule = run.spec_model().schedule
        assert [(event.step, event.tokens) for event in run.steps()] == [
            (step, step * ROWS * LENGTH) for step in range(1, MORE_STEPS + 1)
        ]
        assert [event.learning_rate for event in run.steps()] == [
            learning_rate(schedule, event.tokens) for event in run.steps()
        ]
        assert [event.step for event in run.steps() if event.valid_tokens == 0] == [5, 6]
        assert {event.loss for event in run.steps()[4:6]} == {run.steps()[3].loss}
        assert any("steps 5 to 6 are left out" in event.message for event in run.events() if event.type == "log")

    @pytest.mark.parametrize("stops", [(3,), (4,), (5,), (6,), (4, 5, 8)])
    def test_leads_to_the_same_weights_and_losses_however_often_it_is_interrupted(
        self, stage: StageMaker, stops: tuple[int, ...]
    ) -> None:
        undisturbed = longer(stage)
        undisturbed.terms = SKIP
        expected = undisturbed.run_inside()
        run = longer(stage)
        run.terms = SKIP
        for step in stops:
            with pytest.raises(Stopped):
                run.run_inside(stop_after=step)
            assert run.commit().step == step
        got = run.run_inside()
        assert (got.weights_digest, got.first_loss, got.last_loss) == (
            expected.weights_digest,
            expected.first_loss,
            expected.last_loss,
        )

    def test_is_not_even_read(self, stage: StageMaker) -> None:
        """A window may hold what can't be trained on at all."""
        run = longer(stage, shards=MORE_STEPS)
        tamper(run.store, f"{run.urls.url}-data/shard.00004.mds", lambda data: b"poison" + data[6:])
        run.terms = {"skipSteps": [{"first": 5, "last": 5}]}
        assert run.run_inside().commit.step == MORE_STEPS

    def test_a_checkpoint_made_under_other_terms_is_told(self, stage: StageMaker) -> None:
        run = longer(stage)
        with pytest.raises(Stopped):
            run.run_inside(stop_after=7)
        run.terms = SKIP
        run.run_inside()
        told = [event.message for event in run.events() if event.type == "log"]
        assert any("was trained on steps that are to be left out: 5, 6" in message for message in told)


class TestTermsOfAnAttempt:
    def test_are_the_defaults_without_an_attempt_file(self, store: Store, prefix: str) -> None:
        assert read_attempt(store, StageUrls(f"{prefix}/stage"), 1) == AttemptTerms()

    def test_are_read_from_it(self, stage: StageMaker) -> None:
        run = stage()
        run.terms = SKIP | {"meanSecondsBetweenInterruptions": 90.5}
        terms = read_attempt(run.store, run.urls, run.claim())
        assert (terms.skip_steps, terms.mean_seconds_between_interruptions) == ([StepWindow(first=5, last=6)], 90.5)
        assert terms.file is not None
        assert (terms.file.started_from, terms.file.ancestors) == (None, None)

    def test_those_of_another_attempt_are_refused(self, stage: StageMaker) -> None:
        run = stage()
        run.terms = SKIP
        data = run.store.get(run.urls.attempt_file(run.claim())).data
        run.store.put(run.urls.attempt_file(7), data)
        with pytest.raises(UserFailure, match=r"0007/attempt\.json is of epoch 1"):
            read_attempt(run.store, run.urls, 7)

    def test_what_breaks_the_contract_is_refused_with_its_place(self, store: Store, prefix: str) -> None:
        urls = StageUrls(f"{prefix}/stage")
        store.put(urls.attempt_file(1), b'{"schema": "longhaul.attempt/1", "epoch": 1}')
        with pytest.raises(UserFailure, match=r"\$\.skipSteps"):
            read_attempt(store, urls, 1)


class TestASpike:
    NUMERICS = Numerics(spike_factor=2.0, spike_window_steps=3)

    def test_is_a_loss_above_the_factor_times_the_median_of_the_window(self) -> None:
        assert loss_limit(self.NUMERICS, [9.0, 1.0, 3.0, 2.0]) == 4.0

    @pytest.mark.parametrize(("numerics", "losses"), [(None, [1.0] * 9), (NUMERICS, [1.0, 1.0])])
    def test_is_not_judged_without_a_measure_or_before_the_window_is_full(
        self, numerics: Numerics | None, losses: list[float]
    ) -> None:
        assert loss_limit(numerics, losses) == math.inf

    def test_ends_the_attempt_before_the_update_and_the_next_one_leaves_it_out(self, stage: StageMaker) -> None:
        changes = {"numerics": {"spikeFactor": 1.15, "spikeWindowSteps": 4}, "checkpoints.everySteps": 3}
        run = longer(stage, changes, rows=with_noise_at(10))
        outcome = run.run()
        assert (outcome.result, outcome.class_, outcome.step) == ("ended", "numerics", 9)
        assert "is a spike" in outcome.message
        assert run.commit().step == 9
        run.terms = {"skipSteps": [{"first": 10, "last": 10}]}
        rolled_back = run.run_inside()
        known = longer(stage, changes, rows=with_noise_at(10))
        known.terms = run.terms
        assert rolled_back.weights_digest == known.run_inside().weights_digest

    def test_is_judged_alike_after_a_resume(self, stage: StageMaker) -> None:
        run = longer(
            stage,
            {"numerics": {"spikeFactor": 1.15, "spikeWindowSteps": 4}, "checkpoints.everySteps": 9},
            rows=with_noise_at(10),
        )
        for attempt in range(2):
            with pytest.raises(NumericsFailure, match="is a spike") as failure:
                run.run_inside()
            assert run.commit().step == 9, attempt
            messages = {str(failure.value)}
        assert len(messages) == 1


class TestNumbersThatAreNotFinite:
    def test_leave_the_last_commit_as_it_was(self, stage: StageMaker) -> None:
        run = longer(stage, {"schedule.peak": 1e30, "schedule.warmupTokens": 0, "checkpoints.everySteps": 1})
        outcome = run.run()
        assert (outcome.result, outcome.class_) == ("ended", "numerics")
        assert run.commit().step == outcome.step
        assert manifest_at(run, run.commit().step).weights_digest


class TestTheIntervalOfCheckpoints:
    def test_changes_no_bit(self, stage: StageMaker) -> None:
        digests = set()
        for every, mean in ((1, None), (STEPS, None), ("auto", 0.001), ("auto", 1e6)):
            run = stage({"checkpoints.everySteps": every})
            run.terms = {"meanSecondsBetweenInterruptions": mean}
            digests.add(run.run_inside().weights_digest)
            commits = [event.step for event in run.events() if event.type == "commit"]
            assert commits[-1] == STEPS
            assert len(commits) == len(set(commits))
        assert len(digests) == 1
