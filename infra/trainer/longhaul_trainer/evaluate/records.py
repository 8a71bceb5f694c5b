"""One durable, create-only record per finished sample, and what can be left out because its record is there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from longhaul_trainer.contracts import (
    EvaluationRecord,
    EvaluationTarget,
    HeldOutLossRecord,
    HeldOutLossTask,
    KvRecallTask,
    NeedleTask,
    RecallRecord,
    Runtime,
    dump,
    parse,
)
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import PreconditionFailedError
from longhaul_trainer.store.client import Store

Record = RecallRecord | HeldOutLossRecord
Task = KvRecallTask | NeedleTask | HeldOutLossTask

PROTOCOL = 2
"""Raised whenever the same settings would give other prompts or scores: old records then stand for nothing."""

_WRITERS = 4
_WAITING = 256  # records on their way, at most


def record_key(target: EvaluationTarget, task: Task, runtime: Runtime) -> str:
    """What a record is valid for, in 16 hex digits: model, overrides, task settings and compute type.

    How many contexts or rows are asked for is left out: more of them extend what is there.
    """
    settings = task.model_dump(mode="json", exclude={"contexts", "rows"})
    overrides = target.model_dump(mode="json", exclude={"model"})
    parts = [PROTOCOL, overrides, target.model.digest, settings, runtime.precision]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class Records:
    """The records of a stage. Writing happens in the background; `drain` waits for it and raises what went wrong."""

    def __init__(self, store: Store, urls: StageUrls) -> None:
        self._store, self._urls = store, urls
        self._pool = ThreadPoolExecutor(_WRITERS, thread_name_prefix="records")
        self._writes: list[Future[Record]] = []
        self._written: list[Record] = []
        listing = store.list(f"{urls.url}/records")
        self._there = {info.url.removesuffix(".json") for info in listing if info.url.endswith(".json")}

    def finished(self, key: str, samples: Iterable[str]) -> set[str]:
        """Those of `samples` whose record an earlier attempt wrote."""
        return {sample for sample in samples if self._name(key, sample) in self._there}

    def write(self, record: Record) -> None:
        """Write a record in the background; waits when many are on their way."""
        if len(self._writes) >= _WAITING:
            self.drain()
        self._writes.append(self._pool.submit(self._create, record))

    def settle(self) -> int:
        """How many records of this attempt are in the store; raises what a write raised. Does not wait."""
        on_their_way: list[Future[Record]] = []
        for write in self._writes:
            if write.done():
                self._written.append(write.result())
            else:
                on_their_way.append(write)
        self._writes = on_their_way
        return len(self._written)

    def drain(self) -> None:
        """Wait until every record is in the store; raises what a write raised."""
        for write in self._writes:
            write.exception()
        self.settle()

    def gather(self, keys: Iterable[tuple[str, str]]) -> list[Record]:
        """The records of (key, sample), those of earlier attempts read from the store, in the order given."""
        self.drain()
        known = {(record.key, record.sample): record for record in self._written}

        def find(name: tuple[str, str]) -> Record:
            return known.get(name) or self._read(*name)

        return list(self._pool.map(find, keys))

    def close(self) -> None:
        """Give up what is still on its way."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _name(self, key: str, sample: str) -> str:
        return self._urls.record(key, sample).removesuffix(".json")

    def _create(self, record: Record) -> Record:
        """Another attempt may have been faster by a moment; its record then is the one that counts."""
        try:
            self._store.create(self._urls.record(record.key, record.sample), dump(record))
        except PreconditionFailedError:
            return self._read(record.key, record.sample)
        return record

    def _read(self, key: str, sample: str) -> Record:
        url = self._urls.record(key, sample)
        return parse(EvaluationRecord, self._store.get(url).data, url)


@contextmanager
def records_of(store: Store, urls: StageUrls) -> Iterator[Records]:
    """The records of a stage, closed at the end."""
    records = Records(store, urls)
    try:
        yield records
    finally:
        records.close()
