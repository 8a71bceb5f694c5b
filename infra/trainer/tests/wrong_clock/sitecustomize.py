"""Sets this process's clock wrong, by as many seconds as the file of `TEST_CLOCK_AHEAD` says at the moment.

Python loads it before anything else where its folder is on the path.
"""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path

_said = Path(os.environ["TEST_CLOCK_AHEAD"])
_right_time = time.time
_RightDatetime = datetime.datetime


def _ahead() -> float:
    return float(_said.read_text())


class _WrongDatetime(_RightDatetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _RightDatetime:  # type: ignore[override]
        return _RightDatetime.now(tz) + datetime.timedelta(seconds=_ahead())

    @classmethod
    def utcnow(cls) -> _RightDatetime:  # type: ignore[override]
        return _RightDatetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=_ahead())


time.time = lambda: _right_time() + _ahead()
datetime.datetime = _WrongDatetime  # type: ignore[misc]
