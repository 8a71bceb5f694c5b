"""What a worker tells its wrapper through memory that survives it."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field


class Mailbox:
    """Shared memory through which the worker tells the wrapper things that must survive the worker.

    Two halves, written in turn and then switched over, so that a worker killed in the middle of a write leaves the
    message before it.
    """

    _HALF = 64 * 1024

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1 + 2 * self._HALF)

    def write(self, message: bytes) -> None:
        """Replace the message (less than 64 KiB)."""
        half = 1 - (self._memory[0] & 1)
        at = 1 + half * self._HALF
        self._memory[at : at + 4 + len(message)] = len(message).to_bytes(4, "little") + message
        self._memory[0] = half

    def read(self) -> bytes:
        """The latest whole message; empty when there was none."""
        at = 1 + (self._memory[0] & 1) * self._HALF
        size = int.from_bytes(self._memory[at : at + 4], "little")
        return self._memory[at + 4 : at + 4 + size]


@dataclass
class Boxes:
    """The worker's mail: how far it is, what it hears from a store in trouble, and in the end its outcome."""

    progress: Mailbox = field(default_factory=Mailbox)
    heard: Mailbox = field(default_factory=Mailbox)
    outcome: Mailbox = field(default_factory=Mailbox)
