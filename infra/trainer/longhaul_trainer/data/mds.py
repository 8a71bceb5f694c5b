"""Reading MDS shards, the format of mosaicml-streaming that published ProLong data has, uncompressed.

A shard, little-endian: `rows` uint32, `rows + 1` row offsets uint32, the columns as JSON, then the rows. A row holds the
sizes (uint32) of its columns without a fixed size, then the columns in order.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

_SHAPE_TYPES = (np.uint8, np.uint16, np.uint32, np.uint64)


class MdsError(ValueError):
    """Bytes that are not an MDS shard of this reader's kind."""


@dataclass(frozen=True)
class Column:
    """A column: its name, its encoding (`str`, `ndarray:uint32`, `ndarray:uint8:256`, ...) and its size if fixed."""

    name: str
    encoding: str
    size: int | None


class MdsShard:
    """The rows of one shard's bytes."""

    def __init__(self, data: bytes | memoryview, what: str = "shard") -> None:
        """`what` names the shard in errors. Raises MdsError when the header is broken."""
        self._data, self._what = memoryview(data), what
        if len(self._data) < 8:
            raise MdsError(f"{what}: {len(self._data)} bytes are no MDS shard")
        self.rows = int(np.frombuffer(self._data, np.uint32, 1)[0])
        header = 4 * (self.rows + 2)
        if header > len(self._data):
            raise MdsError(f"{what}: ends within its row offsets")
        self._offsets = np.frombuffer(self._data, np.uint32, self.rows + 1, 4).astype(np.int64)
        if int(self._offsets[-1]) != len(self._data) or np.any(np.diff(self._offsets) < 0):
            raise MdsError(f"{what}: row offsets don't fit its {len(self._data)} bytes")
        self.columns = self._columns(bytes(self._data[header : int(self._offsets[0])]))

    def _columns(self, header: bytes) -> tuple[Column, ...]:
        try:
            config = json.loads(header)
            if config["format"] != "mds" or config["compression"]:
                raise MdsError(f"{self._what}: only uncompressed MDS shards can be read")
            names, encodings, sizes = (config[key] for key in ("column_names", "column_encodings", "column_sizes"))
            return tuple(Column(*column) for column in zip(names, encodings, sizes, strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise MdsError(f"{self._what}: its header can't be read ({error})") from error

    def row(self, index: int) -> dict[str, Any]:
        """Row `index` by column. Arrays share the shard's memory and are read-only. Raises MdsError, IndexError."""
        if not 0 <= index < self.rows:
            raise IndexError(f"{self._what} has {self.rows} rows, not a row {index}")
        start, end = int(self._offsets[index]), int(self._offsets[index + 1])
        data = self._data[start:end]
        dynamic = sum(column.size is None for column in self.columns)
        sizes = iter(np.frombuffer(data, np.uint32, dynamic).tolist())
        at = 4 * dynamic
        values: dict[str, Any] = {}
        for column in self.columns:
            size = next(sizes) if column.size is None else column.size
            if at + size > len(data):
                raise MdsError(f"{self._what} row {index}: column {column.name} reaches beyond the row")
            values[column.name] = self._decode(column, data[at : at + size], index)
            at += size
        return values

    def _decode(self, column: Column, data: memoryview, index: int) -> Any:
        kind, _, rest = column.encoding.partition(":")
        try:
            if kind == "str":
                return str(data, "utf-8")
            if kind == "int":
                return int(np.frombuffer(data, np.int64)[0])
            if kind == "ndarray" and rest:
                return _array(rest, data)
            return np.frombuffer(data, np.dtype(column.encoding))[0].item()
        except (TypeError, ValueError, IndexError) as error:
            raise MdsError(f"{self._what} row {index}: column {column.name} ({column.encoding}): {error}") from error


def _array(form: str, data: memoryview) -> np.ndarray:
    """`<dtype>` with the shape in the data, or `<dtype>:<n>,<m>`."""
    name, _, fixed = form.partition(":")
    if fixed:
        return np.frombuffer(data, np.dtype(name)).reshape([int(extent) for extent in fixed.split(",")])
    rank, shape_type = data[0] >> 2, np.dtype(_SHAPE_TYPES[data[0] & 3])
    shape = np.frombuffer(data, shape_type, rank, 1).tolist()
    return np.frombuffer(data, np.dtype(name), offset=1 + rank * shape_type.itemsize).reshape(shape)
