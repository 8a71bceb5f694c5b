"""The object store: a botocore S3 client that rides out outages of minutes. How large files move: ``transfers.py``.

Reads and idempotent writes are repeated with jitter for ``patience_seconds``. A conditional write is tried once: when
its answer is lost, only a re-read can tell whether it landed (AmbiguousWriteError), and that is the caller's protocol.
Every write carries its SHA-256 to the store, so that the store itself can report what it holds.

Environment: ``LONGHAUL_S3_ENDPOINT`` (absent: AWS), ``AWS_REGION``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` or
any other source of credentials that botocore knows; ``LONGHAUL_STORE_PATIENCE_SECONDS`` (default 900).
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError as Urllib3Error

from .answers import TransientError, translate
from .errors import AmbiguousWriteError, NotFoundError, PreconditionFailedError, UnavailableError
from .layout import split_url

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


def sha256_digest(data: bytes | bytearray | memoryview) -> str:
    """``sha256:<hex>`` of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Store:
    """An S3 store, safe to use from several threads; across a fork only after ``forget_connections``."""

    def __init__(self, client: Any, *, patience_seconds: float = 900.0, parallel: int = 4) -> None:
        """``client``: a botocore S3 client without retries of its own. ``parallel``: parts in flight (64 MiB each),
        in the threads of ``pool``."""
        self.client = client
        self._patience = patience_seconds
        self._deadline = float("inf")
        self._troubled: set[object] = set()
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
        client = botocore.session.get_session().create_client(
            "s3", region_name=region, endpoint_url=endpoint, config=config
        )
        patience = float(os.environ.get("LONGHAUL_STORE_PATIENCE_SECONDS", "900"))
        return cls(client, patience_seconds=patience, parallel=parallel)

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

    # --- small objects ---

    def get(self, url: str) -> Object:
        """The object at ``url``. Raises NotFoundError, AccessError, UnavailableError."""
        bucket, key = split_url(url)

        def read() -> Object:
            answer = self.client.get_object(Bucket=bucket, Key=key)
            return Object(answer["Body"].read(), answer["ETag"])

        return self.patiently(url, read)

    def find(self, url: str) -> Object | None:
        """The object at ``url``, or None when the store says that there is none."""
        try:
            return self.get(url)
        except NotFoundError:
            return None

    def info(self, url: str) -> ObjectInfo:
        """Size and checksum as the store reports them. Raises NotFoundError."""
        bucket, key = split_url(url)
        answer = self.patiently(url, lambda: self.client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED"))
        return ObjectInfo(url, answer["ContentLength"], answer.get("ChecksumSHA256"))

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
        """Write ``data`` if the object still has ``etag`` (``If-Match``). Tried once.

        Raises PreconditionFailedError (412 or 409; also when an earlier try of one's own had landed),
        AmbiguousWriteError (no usable answer: it may have landed).
        """
        try:
            self._write(url, data, IfMatch=etag)
        except (TransientError, BotoCoreError, Urllib3Error, OSError) as error:
            translated = translate(url, error)
            if isinstance(translated, TransientError):
                raise AmbiguousWriteError(str(translated)) from error
            raise translated from error

    def list(self, url: str) -> Iterator[ObjectInfo]:
        """Every object below the prefix ``url``, in order of key (checksums are not reported)."""
        for page in self._pages(url, delimiter=False):
            for item in page.get("Contents", []):
                yield ObjectInfo(f"s3://{split_url(url)[0]}/{item['Key']}", item["Size"], None)

    def folders(self, url: str) -> list[str]:
        """Names one level below the prefix ``url``."""
        prefixes = [p["Prefix"] for page in self._pages(url, delimiter=True) for p in page.get("CommonPrefixes", [])]
        return [prefix.rstrip("/").rsplit("/", 1)[1] for prefix in prefixes]

    def delete(self, urls: Iterable[str]) -> None:
        """Delete objects one by one, in the order given; missing ones are fine."""
        for url in urls:
            bucket, key = split_url(url)
            self.patiently(url, lambda b=bucket, k=key: self.client.delete_object(Bucket=b, Key=k))

    def _pages(self, url: str, *, delimiter: bool) -> Iterator[dict[str, Any]]:
        bucket, key = split_url(url)
        request: dict[str, Any] = {"Bucket": bucket, "Prefix": f"{key}/"} | ({"Delimiter": "/"} if delimiter else {})
        while True:
            page = self.patiently(url, lambda: self.client.list_objects_v2(**request))
            yield page
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _write(self, url: str, data: bytes, **condition: str) -> None:
        bucket, key = split_url(url)
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        try:
            self.client.put_object(Bucket=bucket, Key=key, Body=data, ChecksumSHA256=checksum, **condition)
        except ClientError as error:
            raise translate(url, error) from error

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
        """``call``, repeated while the store is in trouble and patience lasts."""
        trouble: Exception | None = None
        tries = self.tries(url)
        try:
            while True:
                try:
                    next(tries)
                except UnavailableError as error:
                    raise UnavailableError(f"{trouble} ({error})") from trouble
                try:
                    return call()
                except (BotoCoreError, ClientError, Urllib3Error, TransientError, OSError) as error:
                    translated = translate(url, error)
                    if not isinstance(translated, TransientError):
                        raise translated from error
                    trouble = translated
                    self._troubled.add(tries)
        finally:
            self._troubled.discard(tries)

    def _pause(self, seconds: float, deadline: float) -> None:
        """Sleep in slices, because ``limit_patience`` may be called meanwhile."""
        until = min(time.monotonic() + seconds, deadline)
        while (left := min(until, self._deadline) - time.monotonic()) > 0:
            time.sleep(min(left, 0.25))
