"""When checkpoints are taken: as often as the spec says, or as costs and interruptions make best."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from longhaul_trainer.contracts import CheckpointPolicy
from longhaul_trainer.interval import MEASURING_STEPS, SaveSchedule, best_interval_seconds


def policy(every: int | str, keep_every: int = 0) -> CheckpointPolicy:
    return CheckpointPolicy.model_validate({"everySteps": every, "keepLast": 3, "keepEvery": keep_every})


def expected_seconds(interval: float, cost: float, mean: float) -> float:
    """Daly's expected seconds per second of useful work, with interruptions that come by chance."""
    return mean * (math.exp((interval + cost) / mean) - 1) / interval


def saves(schedule: SaveSchedule, steps: int, step_seconds: float, stall: float, save_seconds: float) -> list[int]:
    """The steps after which a stage saves whose steps and saves take this long."""
    saved = []
    in_flight_until = 0.0
    now = 0.0
    for step in range(1, steps + 1):
        saving = now < in_flight_until
        now += step_seconds
        schedule.step_done(step_seconds, saving=saving)
        if schedule.due(step, save_seconds if saved else None):
            saved.append(step)
            schedule.saved(stall)
            in_flight_until = now + save_seconds
    return saved


class TestAFixedInterval:
    def test_is_every_nth_step_and_the_last(self) -> None:
        assert saves(SaveSchedule(policy(4), 10), 10, 1.0, 0.1, 1.0) == [4, 8, 10]


class TestTheBestInterval:
    @pytest.mark.parametrize(
        ("cost", "mean"), [(0.01, 30.0), (1.0, 30.0), (5.0, 30.0), (0.01, 3600.0), (60.0, 3600.0), (60.0, 86400.0)]
    )
    def test_wastes_no_more_than_any_other(self, cost: float, mean: float) -> None:
        best = best_interval_seconds(cost, mean)
        others = [best * 1.05**power for power in range(-60, 61)]
        optimum = min(expected_seconds(other, cost, mean) for other in others)
        assert expected_seconds(best, cost, mean) <= optimum * 1.02

    def test_a_save_that_costs_more_than_the_time_between_interruptions_is_made_once_in_it(self) -> None:
        assert best_interval_seconds(100, 10) == 10


class TestAutomatically:
    def test_the_first_save_measures_and_the_others_follow_the_formula(self) -> None:
        schedule = SaveSchedule(policy("auto"), 1000, 200.0)
        steps = round(best_interval_seconds(0.4, 200.0) / 0.5)
        expected = range(MEASURING_STEPS, 1000, steps)
        assert saves(schedule, 999, 0.5, 0.4, 0.1) == list(expected)
        assert steps == 25

    def test_more_interruptions_mean_more_saves(self) -> None:
        counts = [
            len(saves(SaveSchedule(policy("auto"), 1000, mean), 1000, 0.5, 0.05, 0.1)) for mean in (10, 1000, None)
        ]
        assert counts == sorted(counts, reverse=True)
        assert len(set(counts)) == 3

    def test_what_the_upload_slows_steps_down_by_is_part_of_the_cost(self) -> None:
        quick, slowed = SaveSchedule(policy("auto"), 1000, 100.0), SaveSchedule(policy("auto"), 1000, 100.0)
        for schedule, beside in ((quick, 1.0), (slowed, 3.0)):
            for _ in range(3):
                schedule.step_done(1.0, saving=False)
            schedule.saved(0.1)
            schedule.step_done(beside, saving=True)
        assert slowed.interval_steps(None) > quick.interval_steps(None)

    def test_a_save_is_not_begun_before_the_one_before_it_is_done(self) -> None:
        made = saves(SaveSchedule(policy("auto"), 1000, 1.0), 100, 1.0, 0.0001, 20.0)
        assert all(later - earlier >= 20 for earlier, later in pairwise(made))

    def test_steps_that_retention_is_to_keep_are_saved(self) -> None:
        made = saves(SaveSchedule(policy("auto", keep_every=100), 1000), 1000, 1.0, 1.0, 1.0)
        assert set(range(100, 1001, 100)) <= set(made)
