"""What an operator is told while a job waits for the store."""

from __future__ import annotations

from longhaul_trainer.process.trouble import TroubleWarnings

FULL = "s3://b/run/checkpoints/00000300-0001-0a1b2c3d/model.safetensors: the store answered 507 InsufficientStorage"


class Clock:
    """Seconds, as a test says."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


class TestTroubleThatLasts:
    """A call is tried again every ten seconds at most, and is heard of at each try."""

    def setup_method(self) -> None:
        self.clock, self.told, self.waiting = Clock(), list[str](), "checkpoint of step 300"
        self.trouble = TroubleWarnings(self.told.append, lambda: self.waiting, clock=self.clock)

    def hear(self, at: float, text: str = FULL) -> int:
        """How often there was a warning so far."""
        self.clock.at = 100.0 + at
        self.trouble.hear(text)
        return len(self.told)

    def test_is_told_of_after_seconds_and_then_once_a_minute(self) -> None:
        assert [self.hear(at) for at in (0, 4, 6, 16, 64, 66, 70, 130)] == [0, 0, 1, 1, 1, 2, 2, 3]

    def test_is_told_in_the_same_words_each_time_without_the_address(self) -> None:
        for at in range(0, 200, 10):
            self.hear(at)
        assert len(set(self.told)) == 1
        assert self.told[0].startswith("checkpoint of step 300 waits for the store since 2")
        assert self.told[0].endswith(" UTC: the store answered 507 InsufficientStorage")

    def test_is_over_once_nothing_is_wrong_any_more(self) -> None:
        said = ((0, FULL), (4, ""), (6, FULL), (10, FULL), (12, FULL))
        assert [self.hear(at, text) for at, text in said] == [0, 0, 0, 0, 1]

    def test_is_not_told_of_when_nothing_waits_and_at_once_when_something_does(self) -> None:
        self.waiting = ""
        assert self.hear(0) == self.hear(60) == 0
        self.waiting = "the export"
        assert self.hear(61) == 1
        assert self.told[0].startswith("the export waits")
