"""When checkpoints are taken: as often as the spec says, or as costs and interruptions make best."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import pytest

from longhaul_trainer.checkpoint.interval import FIRST_SAVE_STEPS, RISKED_SHARE, SaveSchedule, best_interval_seconds
from longhaul_trainer.contracts import CheckpointPolicy


def policy(every: int | str, keep_every: int = 0) -> CheckpointPolicy:
    return CheckpointPolicy.model_validate({"everySteps": every, "keepLast": 3, "keepEvery": keep_every})


def expected_seconds(interval: float, cost: float, mean: float) -> float:
    """Daly's expected seconds per second of useful work, with interruptions that come by chance."""
    return mean * (math.exp((interval + cost) / mean) - 1) / interval


def saves(schedule: SaveSchedule, steps: int, step_seconds: float, stall: float, save_seconds: float) -> list[int]:
    """The steps after which a stage saves whose steps and saves take this long."""
    saved: list[int] = []
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


SEED = 20261124


@dataclass(frozen=True)
class Costs:
    """Of a simulated stage, in steps."""

    stall: float
    save: float
    slowed: float
    """By how much steps are slower beside an upload, as a share."""

    @property
    def checkpoint(self) -> float:
        """What a checkpoint costs training."""
        return self.stall + self.save * self.slowed


def live(schedule: SaveSchedule, done: int, life: float, costs: Costs, noise: random.Random) -> int:
    """One attempt that begins after step `done` and dies after `life`; returns the newest step it committed."""
    now, uploaded_at = 0.0, -math.inf
    committed = saved = done
    save_seconds: float | None = None
    factor = 2.0  # the first step warms up
    while now <= life:
        saving = uploaded_at > now
        seconds = factor * math.exp(noise.gauss(0, 0.1))
        factor = 1.0
        seconds += costs.slowed * min(seconds, max(0.0, uploaded_at - now))
        now += seconds
        done += 1
        if now > life:
            break
        schedule.step_done(seconds, saving=saving)
        if schedule.due(done, save_seconds):
            now = max(now, uploaded_at)  # one save is in flight at a time
            if now > life:
                break
            committed, save_seconds = saved, costs.save if saved > committed else save_seconds
            now += costs.stall
            schedule.saved(costs.stall)
            saved, uploaded_at = done, now + costs.save
    return saved if uploaded_at <= life else committed


def goodput(every: int | str, costs: Costs, lives: Sequence[float], assumed: float) -> float:
    """The share of its lives that a stage spends on steps that last. `assumed`: mean life taken for granted at first."""
    noise = random.Random(SEED)
    done, watched = 0, 0.0
    for deaths, life in enumerate(lives):
        mean = (assumed + watched) / (1 + deaths)  # as the control plane tells each attempt
        done = live(SaveSchedule(policy(every), 10**9, mean), done, life, costs, noise)
        watched += life
    return done / sum(lives)


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
    def test_the_first_save_measures_and_later_ones_come_to_follow_the_formula(self) -> None:
        made = saves(SaveSchedule(policy("auto"), 1000, 200.0), 500, 0.5, 0.4, 0.1)
        gaps = [later - earlier for earlier, later in pairwise(made)]
        assert made[0] == FIRST_SAVE_STEPS
        assert gaps == sorted(gaps)
        assert gaps[-1] == round(best_interval_seconds(0.4, 200.0) / 0.5) == 25

    @pytest.mark.parametrize("life", [20, 100, 1000])
    def test_a_life_far_shorter_than_assumed_loses_little_of_it(self, life: int) -> None:
        made = saves(SaveSchedule(policy("auto"), 100_000, 1e6), life, 1.0, 0.05, 0.1)
        assert life - made[-1] <= RISKED_SHARE * life + 1

    def test_steps_nearly_as_long_as_lives_are_saved_one_by_one_from_the_first(self) -> None:
        assert saves(SaveSchedule(policy("auto"), 1000, 300.0), 3, 120.0, 1.0, 5.0) == [1, 2, 3]

    def test_a_long_life_shows_that_interruptions_are_rarer_than_said(self) -> None:
        made = saves(SaveSchedule(policy("auto"), 100_000, 20.0), 5000, 1.0, 0.5, 0.1)
        gaps = [later - earlier for earlier, later in pairwise(made)]
        assert gaps[0] == 4
        assert gaps[-1] == round(best_interval_seconds(0.5, 5000 / 3))

    def test_steps_that_take_unequally_long_do_not_make_saves_look_dear(self) -> None:
        schedule = SaveSchedule(policy("auto"), 1000, 100.0)
        noise = random.Random(SEED)
        for step in range(200):
            if step % 4 == 3:
                schedule.saved(0.01)
            schedule.step_done(noise.uniform(0.5, 1.5), saving=step % 4 == 3)
        assert schedule.cost_seconds < 0.2

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


class TestOnTheSameScheduleOfFaults:
    """Time is in steps: what matters is how long saves and lives are beside a step. Nothing else is the simulation's."""

    FIXED = (1, 2, 3, 4, 5, 6, 8, 11, 16, 23, 32, 64)

    @pytest.mark.parametrize("assumed", [0.1, 1.0, 10.0])
    @pytest.mark.parametrize("mean", [20, 100, 1000])
    def test_automatically_wastes_at_most_5_percent_of_the_best_fixed_interval(self, mean: int, assumed: float) -> None:
        """`assumed`: by what factor the assumption is wrong. Lives on average hold 20 checkpoints' cost or more."""
        print(f"seed {SEED}")
        rolls = random.Random(SEED)
        lives = [rolls.expovariate(1 / mean) for _ in range(max(10, 5000 // mean))]
        all_costs = [Costs(*numbers) for numbers in product((0.007, 0.1, 0.5), (0.3, 2.0), (0.0, 0.4))]
        for costs in (one for one in all_costs if one.checkpoint <= mean / 20):
            automatic = goodput("auto", costs, lives, assumed * mean)
            best = max(goodput(every, costs, lives, mean) for every in self.FIXED)
            assert automatic >= 0.95 * best, costs
