"""When to save: every so many steps, or as often as costs and interruptions make best.

A save costs what training loses by it: the time it stands still for the copy, and by how much the steps beside the
upload are slower than others. An interruption costs the steps since the newest commit. Daly's formula balances the two.
When a checkpoint is taken changes no bit of what is trained.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from longhaul_trainer.contracts import CheckpointPolicy

UNMEASURED_COST_STEPS = 0.25
"""What a checkpoint is taken to cost until an attempt has made one. Copies cost less, slowed steps may cost more."""

FIRST_SAVE_STEPS = 4
"""An attempt saves after so many steps at the latest: so it learns what a checkpoint costs."""

RISKED_SHARE = 0.125
"""Most of an attempt's life so far that it may lose: one that has lived for a minute has not shown that it will for an hour,
whatever was assumed. Early checkpoints that cost more than `DEAREST_EARLY` of what they keep are not made for that."""

DEAREST_EARLY = 0.1

SURVIVED_PER_MEAN = 3.0
"""One attempt in twenty lives three times the mean (exponential): one that has lived so long shows the mean to be longer."""

UNKNOWN_MEAN_SECONDS = 3600.0
"""Taken as the mean time between interruptions where it is not known."""


def best_interval_seconds(cost: float, mean: float) -> float:
    """Seconds of training between checkpoints that waste the least (Daly 2006, higher order).

    `cost`: seconds that training loses per checkpoint. `mean`: mean seconds between interruptions.
    """
    if cost >= 2 * mean:
        return mean
    ratio = cost / (2 * mean)
    return math.sqrt(2 * cost * mean) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost


class SaveSchedule:
    """Decides after every step whether to save now."""

    def __init__(
        self, policy: CheckpointPolicy, last_step: int, mean_seconds_between_interruptions: float | None = None
    ) -> None:
        """`last_step`: the stage's, after which there is a checkpoint in any case."""
        self._policy, self._last_step = policy, last_step
        self._mean = mean_seconds_between_interruptions or UNKNOWN_MEAN_SECONDS
        self._trained = 0.0  # seconds of this attempt's steps
        self._since = 0  # steps of this attempt since its start, or since it last saved
        self._first: float | None = None
        self._alone: deque[float] = deque(maxlen=64)
        self._beside: deque[float] = deque(maxlen=64)
        self._stalls: deque[float] = deque(maxlen=8)
        self._slowed: deque[float] = deque(maxlen=8)

    def step_done(self, seconds: float, *, saving: bool) -> None:
        """A step took `seconds`, with a save in flight or without."""
        self._since += 1
        self._trained += seconds
        if self._first is None:  # it warms caches up and waits for data: a measure only until there is a better one
            self._first = seconds
        elif saving and self._slowed:
            # Quicker ones count too: of steps that are unequally long anyway, the slower alone would make saves look dear.
            self._slowed[-1] += seconds - self.step_seconds
            self._beside.append(seconds)
        else:
            self._alone.append(seconds)

    def saved(self, stall_seconds: float) -> None:
        """A save has begun, for which training stood still."""
        self._since = 0
        self._stalls.append(stall_seconds)
        self._slowed.append(0.0)

    def due(self, step: int, save_seconds: float | None) -> bool:
        """Whether to save after `step`. `save_seconds`: how long the latest save took, copy to commit."""
        every, keep_every = self._policy.every_steps, self._policy.keep_every
        if step == self._last_step:
            return True
        if every != "auto":
            return step % every == 0
        if keep_every > 0 and step % keep_every == 0:
            return True  # retention keeps every n-th step, which therefore must be saved
        return self._since >= self.interval_steps(save_seconds)

    def interval_steps(self, save_seconds: float | None) -> int:
        """Steps between checkpoints by what has been measured. A save is not begun before the one before it is done."""
        mean = max(self._mean, self._trained / SURVIVED_PER_MEAN)
        cost, step = self.cost_seconds, self.step_seconds
        early = max(FIRST_SAVE_STEPS * step, RISKED_SHARE * self._trained, cost / DEAREST_EARLY)
        seconds = max(min(best_interval_seconds(cost, mean), early), save_seconds or 0.0)
        return max(1, round(seconds / step))

    @property
    def step_seconds(self) -> float:
        """What a step takes that no save is beside; until one is measured, the least of what others make likely."""
        alone = median(self._alone) if self._alone else self._first or 0.0
        return max(1e-9, min(alone, median(self._beside)) if self._beside else alone)

    @property
    def cost_seconds(self) -> float:
        """What training loses by a checkpoint."""
        if not self._stalls:
            return UNMEASURED_COST_STEPS * self.step_seconds
        return median(self._stalls) + max(0.0, median(self._slowed))
