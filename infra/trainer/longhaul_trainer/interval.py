"""When to save: every so many steps, or as often as costs and interruptions make best.

A save costs what training loses by it: the time it stands still for the copy, and by how much the steps beside the
upload are slower than others. An interruption costs the steps since the newest commit. Daly's formula balances the two.
When a checkpoint is taken changes no bit of what is trained.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from .contracts import CheckpointPolicy

MEASURING_STEPS = 2
"""With `auto`, an attempt makes its first checkpoint after so many steps: until then, neither cost nor step is known."""

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
        self._since = 0  # steps of this attempt since its start, or since it last saved
        self._steps: deque[float] = deque(maxlen=64)
        self._costs: deque[float] = deque(maxlen=8)
        self._first = True

    def step_done(self, seconds: float, *, saving: bool) -> None:
        """A step took `seconds`, with a save in flight or without."""
        self._since += 1
        if self._first:  # it warms caches up and waits for data: no measure of a step
            self._first = False
        elif saving and self._costs and self._steps:
            self._costs[-1] += max(0.0, seconds - median(self._steps))
        else:
            self._steps.append(seconds)

    def saved(self, stall_seconds: float) -> None:
        """A save has begun, for which training stood still."""
        self._since = 0
        self._costs.append(stall_seconds)

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
        if not self._costs or not self._steps:
            return MEASURING_STEPS
        seconds = max(best_interval_seconds(median(self._costs), self._mean), save_seconds or 0.0)
        return max(1, round(seconds / max(median(self._steps), 1e-9)))
