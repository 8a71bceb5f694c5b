"""Digests over many things at once: a checkpoint's parts, a model's parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .contracts import StoredFile
from .store import sha256_digest


def root_digest(files: Iterable[StoredFile]) -> str:
    """SHA-256 over the lines ``<path> <part sha256>`` of all files in order."""
    lines = "".join(f"{file.path} {part.sha256}\n" for file in files for part in file.parts)
    return sha256_digest(lines.encode())


@dataclass
class WeightsDigest:
    """SHA-256 over every parameter, sorted by name: ``<name> <dtype> <d0>x<d1>…`` and a newline, then its bytes.

    ``dtype`` in safetensors' words (``F32``, ``BF16``); bytes little endian, row-major. A tied parameter counts once,
    under the name under which it is saved.
    """

    _entries: list[tuple[str, str, Sequence[int], bytes | bytearray | memoryview]] = field(default_factory=list)

    def add(self, name: str, dtype: str, shape: Sequence[int], data: bytes | bytearray | memoryview) -> None:
        """Add one parameter; order does not matter. ``data`` must stay unchanged until ``digest``."""
        self._entries.append((name, dtype, shape, data))

    def digest(self) -> str:
        """``sha256:<hex>``."""
        total = hashlib.sha256()
        for name, dtype, shape, data in sorted(self._entries, key=lambda entry: entry[0]):
            total.update(f"{name} {dtype} {'x'.join(str(size) for size in shape)}\n".encode())
            total.update(data)
        return f"sha256:{total.hexdigest()}"
