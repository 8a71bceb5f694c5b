"""A curated dataset as a trainer reads it: rows in order of consumption, shards fetched ahead and verified."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from longhaul_trainer.contracts import DatasetManifest, DatasetRef, Shard
from longhaul_trainer.data.mds import MdsError, MdsShard
from longhaul_trainer.errors import DataFailure, UserFailure
from longhaul_trainer.store.artifacts import read_contract, read_verified
from longhaul_trainer.store.client import Store


@dataclass(frozen=True)
class Row:
    """One sample: `tokens` [T], document bounds (half-open, covering the row), and `mask` [T] for chats."""

    tokens: np.ndarray
    bounds: tuple[tuple[int, int], ...]
    mask: np.ndarray | None
    domain: str


class Dataset:
    """Rows of a dataset manifest. Holds the shard it reads from and the next one."""

    def __init__(self, store: Store, ref: DatasetRef) -> None:
        """Reads the manifest. Raises DataFailure when it isn't the one the spec names, StoreError."""
        self.manifest = read_contract(store, ref.manifest_url, ref.digest, DatasetManifest)
        self._store, self._prefix = store, ref.manifest_url.rsplit("/", 1)[0]
        self._shards: dict[int, Future[MdsShard]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shards")
        self._check_shards()

    def _check_shards(self) -> None:
        at = 0
        for shard in self.manifest.shards:
            if shard.first_row != at:
                raise DataFailure(f"{self._prefix}: {shard.file} starts at row {shard.first_row}, not {at}")
            at += shard.rows
        if at != self.manifest.rows:
            raise DataFailure(f"{self._prefix}: shards hold {at} rows, the manifest says {self.manifest.rows}")

    def require(self, length: int, rows: int, vocabulary: int, masked: bool) -> None:
        """Refuses, naming every problem, a dataset that doesn't fit a stage: UserFailure."""
        manifest = self.manifest
        problems = []
        if manifest.sequence_length_tokens != length:
            problems.append(f"rows have {manifest.sequence_length_tokens} tokens, the stage needs {length}")
        if manifest.rows < rows:
            problems.append(f"{manifest.rows} rows, the stage consumes {rows}")
        if manifest.vocabulary_size != vocabulary:
            problems.append(f"tokenised with {manifest.vocabulary_size} tokens, the model has {vocabulary}")
        if masked and not manifest.has_mask:
            problems.append("no mask column, and the objective needs one")
        if problems:
            raise UserFailure(f"dataset {self._prefix}: {'; '.join(problems)}")

    def fetch_ahead(self, index: int) -> None:
        """Begins to fetch the shard of row `index`."""
        if 0 <= index < self.manifest.rows:
            self._load(self._shard_of(index))

    def row(self, index: int) -> Row:
        """Row `index`. Raises DataFailure when its shard or the row is not what the manifest says, StoreError."""
        number = self._shard_of(index)
        shard = self._load(number).result()
        if number + 1 < len(self.manifest.shards):
            self._load(number + 1)
        for old in [key for key in self._shards if key < number]:
            del self._shards[old]
        try:
            columns = shard.row(index - self.manifest.shards[number].first_row)
            return self._check(index, columns)
        except (MdsError, KeyError, IndexError) as error:
            raise DataFailure(f"{self._prefix}: row {index}: {error}") from error

    def _check(self, index: int, columns: dict[str, object]) -> Row:
        tokens, indices = np.asarray(columns["input_ids"]), np.asarray(columns["indices"])
        mask = np.asarray(columns["mask"]) if self.manifest.has_mask else None
        length = self.manifest.sequence_length_tokens
        problem = ""
        if tokens.shape != (length,):
            problem = f"{tokens.shape} tokens instead of {length}"
        elif int(tokens.max()) >= self.manifest.vocabulary_size:
            problem = f"token {int(tokens.max())} is beyond the vocabulary of {self.manifest.vocabulary_size}"
        elif indices.ndim != 2 or indices.shape[1] != 2:
            problem = f"document bounds of shape {indices.shape}"
        elif mask is not None and mask.shape != tokens.shape:
            problem = f"a mask of shape {mask.shape}"
        if problem:
            raise DataFailure(f"{self._prefix}: row {index} has {problem}")
        bounds = tuple((int(start), int(end)) for start, end in indices.tolist())
        if not _cover(bounds, length):
            raise DataFailure(f"{self._prefix}: row {index} has documents that don't cover its {length} tokens")
        return Row(tokens, bounds, mask, str(columns["domain"]))

    def _shard_of(self, index: int) -> int:
        firsts = [shard.first_row for shard in self.manifest.shards]
        if not 0 <= index < self.manifest.rows:
            raise DataFailure(f"{self._prefix} has no row {index}")
        return int(np.searchsorted(firsts, index, side="right")) - 1

    def _load(self, number: int) -> Future[MdsShard]:
        if number not in self._shards:
            self._shards[number] = self._pool.submit(self._fetch, self.manifest.shards[number])
        return self._shards[number]

    def _fetch(self, shard: Shard) -> MdsShard:
        data = read_verified(self._store, f"{self._prefix}/{shard.file}", shard.sha256, DataFailure)
        try:
            loaded = MdsShard(data, shard.file)
        except MdsError as error:
            raise DataFailure(f"{self._prefix}: {error}") from error
        if loaded.rows != shard.rows:
            raise DataFailure(f"{self._prefix}: {shard.file} has {loaded.rows} rows, the manifest says {shard.rows}")
        return loaded


def _cover(bounds: tuple[tuple[int, int], ...], length: int) -> bool:
    """Whether half-open bounds follow one another from 0 to `length`."""
    at = 0
    for start, end in bounds:
        if start != at or end <= start:
            return False
        at = end
    return at == length
