"""Event files: what a job reports arrives whole and in order; what it hears back ends it when it must."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import pytest

from longhaul_trainer.checkpoint.head import HeadGuard
from longhaul_trainer.contracts import EventFile, EventLimits, Lease, dump, parse
from longhaul_trainer.contracts.layout import StageUrls
from longhaul_trainer.errors import CheckpointFailure, DuplicateProcess, Fenced
from longhaul_trainer.process.events import EventSink, LeaseWatch
from longhaul_trainer.store.client import Store
from protocol_support import answer, claim, misbehaving, remove, timeout


def sink_for(
    store: Store, urls: StageUrls, epoch: int, *, seconds: float = 0.02, size: int = 1 << 20, **options: Any
) -> EventSink:
    limits = EventLimits(flush_seconds=seconds, flush_bytes=size)
    return EventSink(store, urls, HeadGuard(store, urls, epoch), limits, **options)


def files(store: Store, urls: StageUrls, epoch: int = 1) -> list[EventFile]:
    listed = [item.url for item in store.list(urls.attempt(epoch))]
    return [parse(EventFile, store.get(url).data, url) for url in listed]


def messages(store: Store, urls: StageUrls) -> list[str]:
    return [getattr(event, "message", event.type) for file in files(store, urls) for event in file.events]


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether ``condition`` becomes true before patience ends."""
    until = time.monotonic() + 300
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


class TestEventsArriveInOrder:
    def test_numbered_from_one_without_gaps_and_all_of_them(self, store: Store, urls: StageUrls) -> None:
        sink = sink_for(store, urls, claim(store, urls))
        sink.phase("import")
        sink.start()
        for number in range(50):
            sink.log(str(number))
            time.sleep(0.002)
        assert sink.close(10)
        written = files(store, urls)
        assert [file.index for file in written] == list(range(1, len(written) + 1))
        assert messages(store, urls) == ["phase", *(str(number) for number in range(50))]

    def test_no_file_is_larger_than_the_limit(self, store: Store, urls: StageUrls) -> None:
        sink = sink_for(store, urls, claim(store, urls), seconds=60, size=2000)
        for number in range(100):
            sink.log(f"{number:04} and some words")
        sink.start()
        assert sink.close(10)
        assert len(messages(store, urls)) == 100
        assert all(item.bytes <= 2000 for item in store.list(urls.attempt(1)))

    def test_a_full_buffer_does_not_wait_for_the_clock(self, store: Store, urls: StageUrls) -> None:
        sink = sink_for(store, urls, claim(store, urls), seconds=3600, size=500)
        sink.start()
        for _ in range(10):
            sink.log("x" * 100)
        assert eventually(lambda: len(files(store, urls)) >= 2)
        sink.close(10)

    def test_an_outage_delays_events_but_loses_none(self, store: Store, urls: StageUrls) -> None:
        down = [True]

        def refuse(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            if down[0]:
                raise answer(503, "SlowDown")
            return call(**request)

        troubled = misbehaving(store, put_object=refuse, get_object=refuse, patience_seconds=0.05)
        sink = sink_for(troubled, urls, claim(store, urls))
        sink.start()
        sink.log("before")
        time.sleep(0.2)
        sink.log("during")
        assert sink.failure is None
        down[0] = False
        assert eventually(lambda: messages(store, urls) == ["before", "during"])
        sink.close(10)

    def test_a_lost_answer_does_not_repeat_or_change_a_file(self, store: Store, urls: StageUrls) -> None:
        calls = []

        def lose_the_first(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            result = call(**request)
            calls.append(request["Key"])
            if len(calls) == 1:
                sink.log("second")
                raise timeout()
            return result

        sink = sink_for(misbehaving(store, put_object=lose_the_first, patience_seconds=0), urls, claim(store, urls))
        sink.log("first")
        sink.start()
        assert eventually(lambda: messages(store, urls) == ["first", "second"])
        assert sink.failure is None
        sink.close(10)


class TestAJobHearsThatItMustEnd:
    def test_a_newer_epoch_fences_it(self, store: Store, urls: StageUrls) -> None:
        sink = sink_for(store, urls, claim(store, urls))
        sink.start()
        claim(store, urls)
        assert eventually(lambda: isinstance(sink.failure, Fenced))

    def test_another_process_of_its_epoch_ends_it(self, store: Store, urls: StageUrls) -> None:
        epoch = claim(store, urls)
        first, second = sink_for(store, urls, epoch), sink_for(store, urls, epoch)
        first.log("I was here first")
        first.start()
        assert eventually(lambda: len(files(store, urls)) == 1)
        second.log("so was I")
        second.start()
        assert eventually(lambda: isinstance(second.failure, DuplicateProcess))
        assert first.failure is None
        first.close(10)

    def test_a_missing_head_ends_it(self, store: Store, urls: StageUrls) -> None:
        sink = sink_for(store, urls, claim(store, urls))
        sink.start()
        remove(store, urls.head)
        assert eventually(lambda: isinstance(sink.failure, CheckpointFailure))

    def test_a_lease_that_nobody_renews_ends_it(self, store: Store, urls: StageUrls) -> None:
        heard: list[str] = []
        epoch = claim(store, urls)
        store.put(urls.lease, lease(epoch, seconds=0.2))
        sink = sink_for(store, urls, epoch, on_lease_expired=heard.append)
        sink.start()
        assert eventually(lambda: len(heard) > 0)
        assert sink.failure is None
        sink.close(10)

    def test_a_lease_that_is_renewed_does_not_whatever_the_clocks_say(self, store: Store, urls: StageUrls) -> None:
        """The renewer's clock stands still, an hour away from the trainer's."""
        heard: list[str] = []
        epoch = claim(store, urls)
        store.put(urls.lease, lease(epoch, seconds=0.5))
        reads: list[str] = []

        def get(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            if request["Key"].endswith("lease.json"):
                reads.append(request["Key"])
                store.put(urls.lease, lease(epoch, seconds=0.5))
            return call(**request)

        sink = sink_for(misbehaving(store, get_object=get), urls, epoch, on_lease_expired=heard.append)
        sink.start()
        started = time.monotonic()
        assert eventually(lambda: len(reads) >= 10 and time.monotonic() > started + 1.5)
        sink.close(10)
        assert heard == []

    @pytest.mark.parametrize("state", ["none", "valid", "of another epoch", "unreadable", "not to be had"])
    def test_any_other_state_of_the_lease_does_not(self, store: Store, urls: StageUrls, state: str) -> None:
        epoch = claim(store, urls)
        if state == "valid":
            store.put(urls.lease, lease(epoch, seconds=60))
        if state == "of another epoch":
            store.put(urls.lease, lease(epoch + 1, seconds=0))
        if state == "unreadable":
            store.put(urls.lease, b"{")
        reads: list[str] = []

        def get(call: Callable[..., Any], request: dict[str, Any]) -> Any:
            reads.append(request["Key"])
            if state == "not to be had" and request["Key"].endswith("lease.json"):
                raise answer(500, "InternalError")
            return call(**request)

        heard: list[str] = []
        sink = sink_for(
            misbehaving(store, get_object=get, patience_seconds=0), urls, epoch, on_lease_expired=heard.append
        )
        sink.start()
        assert eventually(lambda: sum(key.endswith("lease.json") for key in reads) >= 2)
        sink.close(10)
        assert heard == []
        assert sink.failure is None


class TestALeaseCountsByWhatItsHolderHasSeen:
    """In the holder's own monotonic time; looks are made every 10 s of it, at a lease of 60 s."""

    def test_it_runs_out_when_it_stays_the_same(self) -> None:
        watch, same = LeaseWatch(1), held(1)
        assert [watch.look(same, 10.0 * n) for n in range(7)] == [None] * 7
        assert watch.look(same, 70.0) == 70

    def test_a_renewal_begins_it_anew(self) -> None:
        watch = LeaseWatch(1)
        for n in range(100):
            assert watch.look(held(1, renewal=n // 5), 10.0 * n) is None

    def test_time_in_which_it_could_not_be_read_does_not_count(self) -> None:
        watch, same = LeaseWatch(1), held(1)
        assert watch.look(same, 0) is None
        for n in range(1, 10):
            watch.miss()
            assert watch.look(same, 600.0 * n) is None

    def test_a_machine_that_stood_still_gives_its_watcher_time_to_renew(self) -> None:
        watch, same = LeaseWatch(1), held(1)
        assert watch.look(same, 0) is None
        assert watch.look(same, 3600) is None
        assert watch.look(same, 3610) is None
        assert watch.look(held(1, renewal=1), 3620) is None

    @pytest.mark.parametrize("other", [None, 2])
    def test_none_and_one_of_another_attempt_stop_nobody(self, other: int | None) -> None:
        watch = LeaseWatch(1)
        for n in range(100):
            assert watch.look(None if other is None else held(other), 10.0 * n) is None


def held(epoch: int, renewal: int = 0) -> Lease:
    at = "2020-01-01T00:00:00.000Z"
    return Lease(schema_="longhaul.lease/2", epoch=epoch, renewal=f"{renewal:032x}", seconds=60, renewed_at=at)


def lease(epoch: int, *, seconds: float) -> bytes:
    renewal = secrets.token_hex(16)
    update = {"renewal": renewal, "seconds": seconds}
    return dump(held(epoch).model_copy(update=update))
