"""The object store: a botocore S3 client that rides out outages of minutes. How large files move: ``transfers.py``.

Reads and idempotent writes are repeated with jitter for ``patience_seconds``. A conditional write is tried once: when
its answer is lost, only a re-read can tell whether it landed (AmbiguousWriteError), and that is the caller's protocol.
Who is refused (credentials, the machine's clock) asks again for ``refusal_seconds``, with credentials read anew.
Every write carries its SHA-256 to the store, so that the store itself can report what it holds.

Environment: ``LONGHAUL_S3_ENDPOINT`` (absent: AWS), ``AWS_REGION``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` or
any other source of credentials that botocore knows; ``LONGHAUL_STORE_PATIENCE_SECONDS`` (default 900),
``LONGHAUL_STORE_REFUSAL_SECONDS`` (default 300).
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError as Urllib3Error

from longhaul_trainer.contracts.layout import split_url
from longhaul_trainer.errors import (
    AmbiguousWriteError,
    NotFoundError,
    OutOfRangeError,
    PreconditionFailedError,
    RefusalError,
    TransientError,
    UnavailableError,
)
from longhaul_trainer.store.answers import etag_in, no_stores, status_of, translate

T = TypeVar("T")


@dataclass(frozen=True)
class Object:
    """An object's bytes and its ETag."""

    data: bytes
    etag: str


@dataclass(frozen=True)
class ObjectInfo:
    """What the store says of an object. ``sha256``: base64, ``<base64>-<parts>`` for a multipart object, or None."""

    url: str
    bytes: int
    sha256: str | None


def _stay(context: dict[str, Any], **_: Any) -> None:
    """Keeps botocore from looking for a bucket in AWS's other regions, which another store doesn't have: it would ask
    itself without end where an answer of 301 leads to."""
    context["s3_redirect"]["redirected"] = True


def sha256_digest(data: bytes | bytearray | memoryview) -> str:
    """``sha256:<hex>`` of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Store:
    """An S3 store, safe to use from several threads; across a fork only after ``forget_connections``."""

    def __init__(
        self,
        client: Any,
        *,
        patience_seconds: float = 900.0,
        refusal_seconds: float = 300.0,
        parallel: int = 4,
        connect: Callable[[], Any] | None = None,
        on_trouble: Callable[[str], None] = lambda heard: None,
    ) -> None:
        """``client``: a botocore S3 client without retries of its own. ``parallel``: parts in flight (64 MiB each),
        in the threads of ``pool``. ``connect``: makes another client, with credentials read anew. ``on_trouble``: told
        what the store is heard to say, at every try that is in vain, and "" when nothing is wrong any more, from any
        thread."""
        self.client = client
        self._patience, self._refusal = patience_seconds, refusal_seconds
        self._connect = connect
        self.on_trouble = on_trouble
        self._deadline = float("inf")
        self._troubled: dict[object, str] = {}
        self._heard = ""
        self._lock = threading.Lock()
        self.pool = ThreadPoolExecutor(parallel, thread_name_prefix="store")

    @classmethod
    def from_environment(cls, *, parallel: int = 4) -> Store:
        """A store as the environment configures it. Credentials are looked up by botocore and never logged."""
        endpoint = os.environ.get("LONGHAUL_S3_ENDPOINT") or None
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        config = Config(
            signature_version="s3v4",
            # Bodies need no hash of their own in the signature: it covers the checksum that every part carries.
            s3={"addressing_style": "path" if endpoint else "auto", "payload_signing_enabled": False},
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=5,
            read_timeout=60,
            tcp_keepalive=True,
            max_pool_connections=parallel + 6,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )

        service_models = botocore.session.get_session().get_component("data_loader")

        def connect() -> Any:
            # A session keeps the credentials that it has found: only another one looks for them again.
            session = botocore.session.get_session()
            session.register_component("data_loader", service_models)
            client = session.create_client("s3", region_name=region, endpoint_url=endpoint, config=config)
            if endpoint:
                client.meta.events.register_last("before-parameter-build.s3", _stay)
            return client

        return cls(
            connect(),
            patience_seconds=float(os.environ.get("LONGHAUL_STORE_PATIENCE_SECONDS", "900")),
            refusal_seconds=float(os.environ.get("LONGHAUL_STORE_REFUSAL_SECONDS", "300")),
            parallel=parallel,
            connect=connect,
        )

    def limit_patience(self, seconds: float) -> None:
        """From now on give up within ``seconds``, in calls already waiting too: a shutdown has only its grace.

        Takes no lock, so that a signal handler may call it.
        """
        self._deadline = min(self._deadline, time.monotonic() + max(seconds, 0.0))

    def forget_connections(self) -> None:
        """Closes what is open, so that this process and a fork of it can both go on: a connection has one user."""
        self.client.close()

    @property
    def in_trouble(self) -> bool:
        """Whether a call is being repeated because the store didn't do what it was asked."""
        return len(self._troubled) > 0

    @property
    def heard(self) -> str:
        """What the store said, or why it said nothing, when it last didn't do what it was asked; empty once it does."""
        return self._heard

    # --- small objects ---

    def get(self, url: str) -> Object:
        """The object at ``url``. Raises NotFoundError, AccessError, UnavailableError."""
        bucket, key = split_url(url)

        def read() -> Object:
            answer = self.client.get_object(Bucket=bucket, Key=key)
            return Object(answer["Body"].read(), etag_in(url, answer))

        return self.patiently(url, read)

    def find(self, url: str) -> Object | None:
        """The object at ``url``, or None when the store says that there is none."""
        try:
            return self.get(url)
        except NotFoundError:
            return None

    def info(self, url: str) -> ObjectInfo:
        """Size and checksum as the store reports them. Raises NotFoundError."""
        answer = self.patiently(url, lambda: self._head(url))
        return ObjectInfo(url, answer["ContentLength"], answer.get("ChecksumSHA256"))

    def _head(self, url: str) -> dict[str, Any]:
        """An answer to a HEAD has no body, so a 404 of the store and one of a proxy look alike: where it says no, a GET
        lets the store say in its own words what is wrong."""
        bucket, key = split_url(url)
        try:
            answer: dict[str, Any] = self.client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if status_of(error) < 500:
                self._ask_for_word(url)
            raise
        etag_in(url, answer)
        return answer

    def _ask_for_word(self, url: str) -> None:
        bucket, key = split_url(url)
        try:
            self.client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")["Body"].read()
        except ClientError as error:
            # An empty object has no first byte, but it is there.
            if not isinstance(translate(url, error), OutOfRangeError):
                raise

    def put(self, url: str, data: bytes) -> None:
        """Write ``data`` (small) unconditionally, repeated until the store confirms."""
        self.patiently(url, lambda: self._write(url, data))

    def create(self, url: str, data: bytes) -> None:
        """Write ``data`` where nothing is (``If-None-Match: *``). The same bytes being there already is success:
        an earlier try had landed. Raises PreconditionFailedError when something else is there."""

        def write() -> None:
            try:
                self._write(url, data, IfNoneMatch="*")
            except PreconditionFailedError:
                found = self.find(url)
                if found is None:
                    raise TransientError(f"{url}: the write was refused but nothing is there") from None
                if found.data != data:
                    raise

        self.patiently(url, write)

    def replace(self, url: str, data: bytes, etag: str) -> None:
        """Write ``data`` if the object still has ``etag`` (``If-Match``). Tried once, but for refusals of who asks.

        Raises PreconditionFailedError (412; also when an earlier try of one's own had landed),
        AmbiguousWriteError (no usable answer: it may have landed).
        """

        def write() -> None:
            try:
                self._write(url, data, IfMatch=etag)
            except (TransientError, BotoCoreError, Urllib3Error, OSError) as error:
                translated = translate(url, error)
                if isinstance(translated, TransientError):
                    raise AmbiguousWriteError(str(translated)) from error
                raise translated from error

        self.patiently(url, write)

    def list(self, url: str) -> Iterator[ObjectInfo]:
        """Every object below the prefix ``url``, in order of key (checksums are not reported)."""
        for page in self._pages(url, delimiter=False):
            for item in page.get("Contents", []):
                yield ObjectInfo(f"s3://{split_url(url)[0]}/{item['Key']}", item["Size"], None)

    def folders(self, url: str) -> Sequence[str]:
        """Names one level below the prefix ``url``."""
        prefixes = [p["Prefix"] for page in self._pages(url, delimiter=True) for p in page.get("CommonPrefixes", [])]
        return [prefix.rstrip("/").rsplit("/", 1)[1] for prefix in prefixes]

    def delete(self, urls: Iterable[str]) -> None:
        """Delete objects one by one, in the order given; missing ones are fine."""
        for url in urls:
            self._delete(url)

    def _delete(self, url: str) -> None:
        bucket, key = split_url(url)
        self.patiently(url, lambda: self.client.delete_object(Bucket=bucket, Key=key))

    def _pages(self, url: str, *, delimiter: bool) -> Iterator[dict[str, Any]]:
        bucket, key = split_url(url)
        request: dict[str, Any] = {"Bucket": bucket, "Prefix": f"{key}/"} | ({"Delimiter": "/"} if delimiter else {})

        def read() -> dict[str, Any]:
            page: dict[str, Any] = self.client.list_objects_v2(**request)
            if "Name" not in page:
                raise no_stores(url)
            return page

        while True:
            page = self.patiently(url, read)
            yield page
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _write(self, url: str, data: bytes, **condition: str) -> None:
        bucket, key = split_url(url)
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        try:
            answer = self.client.put_object(Bucket=bucket, Key=key, Body=data, ChecksumSHA256=checksum, **condition)
        except ClientError as error:
            raise translate(url, error) from error
        etag_in(url, answer)

    # --- patience ---

    def tries(self, what: str) -> Iterator[None]:
        """Yields for every try that patience allows, pausing with full jitter in between.

        Raises UnavailableError, which names ``what``, when another try is asked for after that.
        """
        started = time.monotonic()
        delay = 0.1
        while True:
            yield
            deadline = min(started + self._patience, self._deadline)
            if time.monotonic() >= deadline:
                raise UnavailableError(f"{what}: gave up after {time.monotonic() - started:.0f} s")
            self._pause(random.uniform(0, delay), deadline)
            delay = min(delay * 2, 10.0)

    def patiently(self, url: str, call: Callable[[], T]) -> T:
        """``call``, repeated while the store is in trouble and patience lasts; while it refuses who asks, for
        ``refusal_seconds``, with credentials read anew."""
        heard: Exception | None = None
        refused_at: float | None = None
        tries = self.tries(url)
        try:
            while True:
                try:
                    next(tries)
                except UnavailableError as error:
                    raise UnavailableError(f"{heard} ({error})") from heard
                try:
                    result = call()
                    self._hear(tries, "")
                    return result
                except (BotoCoreError, ClientError, Urllib3Error, TransientError, RefusalError, OSError) as error:
                    heard = translate(url, error)
                    if isinstance(heard, RefusalError):
                        refused_at = refused_at or time.monotonic()
                        self._refused(heard, time.monotonic() - refused_at)
                    elif not isinstance(heard, TransientError):
                        raise heard from error
                    self._hear(tries, str(heard))
        finally:
            self._troubled.pop(tries, None)

    def _refused(self, refusal: RefusalError, seconds: float) -> None:
        """Read credentials anew for another try. Raises ``refusal`` when it has lasted, or lasted for a call inside."""
        if refusal.lasted:
            raise refusal
        if seconds >= min(self._refusal, self._patience):
            lasting = type(refusal)(f"{refusal} (refused for {seconds:.0f} s, with credentials read anew)")
            lasting.lasted = True
            raise lasting from refusal
        if self._connect is not None:
            # Calls under way in other threads keep the client they have.
            self.client = self._connect()

    def _hear(self, call: object, text: str) -> None:
        """Keep what the store says to ``call``; "": it did what it was asked."""
        with self._lock:
            if text:
                self._troubled[call] = text
            else:
                self._troubled.pop(call, None)
            heard = text or next(iter(list(self._troubled.values())), "")
            if text or heard != self._heard:
                self._heard = heard
                self.on_trouble(heard)

    def _pause(self, seconds: float, deadline: float) -> None:
        """Sleep in slices, because ``limit_patience`` may be called meanwhile."""
        until = min(time.monotonic() + seconds, deadline)
        while (left := min(until, self._deadline) - time.monotonic()) > 0:
            time.sleep(min(left, 0.25))
