"""Imports that take long."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collecting_later() -> Iterator[None]:
    """For large imports: no garbage is collected meanwhile. Nearly all that they make lives on, and looking through it
    again and again takes a seventh of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
