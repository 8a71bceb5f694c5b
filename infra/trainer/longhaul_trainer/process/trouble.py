"""What an operator is told while a job waits for the store: that it lasts, since when, and what the store answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

FIRST_SECONDS = 5.0
"""Trouble that is over sooner is not worth a word."""

AGAIN_SECONDS = 60.0
"""Between two warnings of trouble that lasts. They say the same, so that a reader can tell that nothing is new."""


class TroubleWarnings:
    """Takes what is heard from a store in trouble, try by try, and warns of it now and then."""

    def __init__(
        self,
        warn: Callable[[str], None],
        waiting: Callable[[], str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``waiting``: what waits for the store at the moment; "" when nothing does that a person would miss.
        ``clock``: seconds."""
        self._warn, self._waiting, self._clock = warn, waiting, clock
        self._since: tuple[float, str] | None = None
        self._next = 0.0

    def hear(self, text: str) -> None:
        """Takes ``<url>: <what the store says>``; "": nothing is wrong any more."""
        if not text:
            self._since = None
            return
        at = self._clock()
        if self._since is None:
            self._since = (at, datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
            self._next = at + FIRST_SECONDS
        waiting = self._waiting()
        if not waiting or at < self._next:
            return
        self._next = at + AGAIN_SECONDS
        said = text.split(": ", 1)[-1]
        self._warn(f"{waiting} waits for the store since {self._since[1]}: {said}")
