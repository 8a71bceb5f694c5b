"""Digests over many things at once: a checkpoint's parts, a model's parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from longhaul_trainer.contracts import StoredFile
from longhaul_trainer.store.client import sha256_digest


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


def manifest_coverage_problem(files: Sequence[StoredFile]) -> str:
    """The first file whose name leaves the folder, or that its parts do not cover exactly; empty: none."""
    for file in files:
        if file.path.startswith("/") or ".." in file.path.split("/"):
            return f"{file.path!r} is not a name below the prefix"
        end = 0
        for part in file.parts:
            if part.offset != end:
                return f"the parts of {file.path} do not cover it"
            end += part.bytes
        if end != file.bytes:
            return f"the parts of {file.path} do not cover it"
    return ""
