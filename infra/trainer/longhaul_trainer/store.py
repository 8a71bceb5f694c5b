"""The object store: a botocore S3 client that rides out outages of minutes and moves large files in parallel parts.

Reads and idempotent writes are repeated with jitter for ``patience_seconds``. A conditional write is tried once: when
its answer is lost, only a re-read can tell whether it landed (AmbiguousWriteError), and that is the caller's protocol.
Every part carries its SHA-256 to the store, so that the store itself can report what it holds.

Environment: ``LONGHAUL_S3_ENDPOINT`` (absent: AWS), ``AWS_REGION``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` or
any other source of credentials that botocore knows; ``LONGHAUL_STORE_PATIENCE_SECONDS`` (default 900).
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from urllib3.exceptions import HTTPError as Urllib3Error

from .contracts import PART_BYTES, Part, StoredFile
from .errors import (
    AccessError,
    AmbiguousWriteError,
    NotFoundError,
    PreconditionFailedError,
    StoreError,
    UnavailableError,
)

T = TypeVar("T")
Source = bytes | bytearray | memoryview | Path
"""Contents of a file: bytes in memory, or a local file."""

_CHUNK = 1024 * 1024
_ACCESS = {
    "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "NoSuchBucket",
    "TokenRefreshRequired", "AuthorizationHeaderMalformed", "InvalidBucketName",
}  # fmt: skip


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


class _Transient(StoreError):
    """Worth another try."""


class _OutOfRange(StoreError):
    """A range that the object does not have: it is shorter than thought."""


def sha256_digest(data: bytes | bytearray | memoryview) -> str:
    """``sha256:<hex>`` of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``."""
    if not url.startswith("s3://") or "/" not in url[5:]:
        raise ValueError(f"expected s3://bucket/key, got {url!r}")
    bucket, key = url[5:].split("/", 1)
    return bucket, key


class Store:
    """An S3 store, safe to use from several threads, not across a fork."""

    def __init__(self, client: Any, *, patience_seconds: float = 900.0, parallel: int = 4) -> None:
        """``client``: a botocore S3 client without retries of its own. ``parallel``: parts in flight (64 MiB each)."""
        self._client = client
        self._patience = patience_seconds
        self._deadline = float("inf")
        self._troubled: set[object] = set()
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="store")

    @classmethod
    def from_environment(cls, *, parallel: int = 4) -> Store:
        """A store as the environment configures it. Credentials are looked up by botocore and never logged."""
        endpoint = os.environ.get("LONGHAUL_S3_ENDPOINT") or None
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if endpoint else "auto"},
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=5,
            read_timeout=60,
            tcp_keepalive=True,
            max_pool_connections=parallel + 6,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        client = _session().create_client("s3", region_name=region, endpoint_url=endpoint, config=config)
        patience = float(os.environ.get("LONGHAUL_STORE_PATIENCE_SECONDS", "900"))
        return cls(client, patience_seconds=patience, parallel=parallel)

    def limit_patience(self, seconds: float) -> None:
        """From now on give up within ``seconds``, in calls already waiting too: a shutdown has only its grace.

        Takes no lock, so that a signal handler may call it.
        """
        self._deadline = min(self._deadline, time.monotonic() + max(seconds, 0.0))

    @property
    def in_trouble(self) -> bool:
        """Whether a call is being repeated because the store didn't do what it was asked."""
        return len(self._troubled) > 0

    # --- small objects ---

    def get(self, url: str) -> Object:
        """The object at ``url``. Raises NotFoundError, AccessError, UnavailableError."""
        bucket, key = split_url(url)

        def read() -> Object:
            answer = self._client.get_object(Bucket=bucket, Key=key)
            return Object(answer["Body"].read(), answer["ETag"])

        return self._patiently(url, read)

    def find(self, url: str) -> Object | None:
        """The object at ``url``, or None when the store says that there is none."""
        try:
            return self.get(url)
        except NotFoundError:
            return None

    def info(self, url: str) -> ObjectInfo:
        """Size and checksum as the store reports them. Raises NotFoundError."""
        bucket, key = split_url(url)
        answer = self._patiently(url, lambda: self._client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED"))
        return ObjectInfo(url, answer["ContentLength"], answer.get("ChecksumSHA256"))

    def put(self, url: str, data: bytes) -> None:
        """Write ``data`` (small) unconditionally, repeated until the store confirms."""
        self._patiently(url, lambda: self._write(url, data))

    def create(self, url: str, data: bytes) -> None:
        """Write ``data`` where nothing is (``If-None-Match: *``). The same bytes being there already is success:
        an earlier try had landed. Raises PreconditionFailedError when something else is there."""

        def write() -> None:
            try:
                self._write(url, data, IfNoneMatch="*")
            except PreconditionFailedError:
                found = self.find(url)
                if found is None:
                    raise _Transient(f"{url}: the write was refused but nothing is there") from None
                if found.data != data:
                    raise

        self._patiently(url, write)

    def replace(self, url: str, data: bytes, etag: str) -> None:
        """Write ``data`` if the object still has ``etag`` (``If-Match``). Tried once.

        Raises PreconditionFailedError (412 or 409; also when an earlier try of one's own had landed),
        AmbiguousWriteError (no usable answer: it may have landed).
        """
        try:
            self._write(url, data, IfMatch=etag)
        except (_Transient, BotoCoreError, Urllib3Error, OSError) as error:
            translated = _translate(url, error)
            if isinstance(translated, _Transient):
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
            self._patiently(url, lambda b=bucket, k=key: self._client.delete_object(Bucket=b, Key=k))

    def _pages(self, url: str, *, delimiter: bool) -> Iterator[dict[str, Any]]:
        bucket, key = split_url(url)
        request: dict[str, Any] = {"Bucket": bucket, "Prefix": f"{key}/"} | ({"Delimiter": "/"} if delimiter else {})
        while True:
            page = self._patiently(url, lambda: self._client.list_objects_v2(**request))
            yield page
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _write(self, url: str, data: bytes, **condition: str) -> None:
        bucket, key = split_url(url)
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=data, ChecksumSHA256=checksum, **condition)
        except ClientError as error:
            raise _translate(url, error) from error

    # --- large files ---

    def upload_all(self, prefix: str, files: Mapping[str, Source]) -> list[StoredFile]:
        """Upload ``files`` below ``prefix``, parts in parallel, hashed as they are read; memory is bounded by
        the parts in flight. Files above 64 MiB become multipart uploads, aborted on failure.

        Returns their entries for a manifest, sorted by path.
        """
        uploads = [_Upload(self, f"{prefix}/{name}", name, source) for name, source in sorted(files.items())]
        futures: list[Future[None]] = []
        try:
            for upload in uploads:
                upload.begin()
                futures += [self._pool.submit(upload.send, index) for index in range(upload.count)]
            for future in futures:
                future.result()
            return [upload.finish() for upload in uploads]
        except BaseException:
            _abandon(futures)
            for upload in uploads:
                upload.abort()
            raise

    def download_all(
        self, prefix: str, files: Sequence[StoredFile], into: Path | None = None
    ) -> tuple[dict[str, memoryview | Path], list[str]]:
        """Fetch ``files`` from below ``prefix`` by parallel ranged reads, each part verified as it arrives.

        ``into``: a local folder; None: into memory. Returns the contents by path, and the problems: parts that
        disagreed with their digest on two reads, wrong sizes, objects that are gone. Store errors are raised, they
        are no evidence about the contents.
        """
        sinks = {file.path: _Sink(file, into) for file in files}
        futures = [
            self._pool.submit(self._verified_part, f"{prefix}/{file.path}", file, part, sinks[file.path])
            for file in files
            for part in file.parts
        ]
        try:
            problems = [problem for future in futures if (problem := future.result()) is not None]
        finally:
            _abandon(futures)
            for sink in sinks.values():
                sink.close()
        return {path: sink.result() for path, sink in sinks.items()}, sorted(set(problems))

    def _verified_part(self, url: str, file: StoredFile, part: Part, sink: _Sink) -> str | None:
        """Two reads must disagree with the manifest before a part counts as corrupt."""
        problem: str | None = None
        for _ in range(2):
            try:
                problem = self._patiently(url, lambda: self._read_part(url, file, part, sink))
            except NotFoundError:
                problem = f"{file.path} is gone"
            except _OutOfRange:
                problem = f"{file.path} is shorter than its {file.bytes} bytes"
            if problem is None:
                return None
        return problem

    def _read_part(self, url: str, file: StoredFile, part: Part, sink: _Sink) -> str | None:
        bucket, key = split_url(url)
        if part.bytes == 0:
            size = self._client.head_object(Bucket=bucket, Key=key)["ContentLength"]
            return None if size == file.bytes else f"{file.path} has {size} bytes, not {file.bytes}"
        end = part.offset + part.bytes - 1
        answer = self._client.get_object(Bucket=bucket, Key=key, Range=f"bytes={part.offset}-{end}")
        size = int(answer["ContentRange"].rsplit("/", 1)[1])
        if size != file.bytes:
            answer["Body"].close()
            return f"{file.path} has {size} bytes, not {file.bytes}"
        digest = hashlib.sha256()
        at = part.offset
        for chunk in answer["Body"].iter_chunks(_CHUNK):
            digest.update(chunk)
            sink.write(at, chunk)
            at += len(chunk)
        if at != end + 1:
            raise _Transient(f"{url}: the answer ended early")
        if f"sha256:{digest.hexdigest()}" != part.sha256:
            return f"{file.path}: bytes {part.offset} to {end} do not match their digest"
        return None

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

    def _patiently(self, url: str, call: Callable[[], T]) -> T:
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
                except (BotoCoreError, ClientError, Urllib3Error, _Transient, OSError) as error:
                    translated = _translate(url, error)
                    if not isinstance(translated, _Transient):
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


class _Upload:
    """One file on its way up: a plain PUT up to 64 MiB, else a multipart upload with the manifest's own parts."""

    def __init__(self, store: Store, url: str, name: str, source: Source) -> None:
        self._store, self._url, self._name, self._source = store, url, name, source
        self._bucket, self._key = split_url(url)
        self._size = source.stat().st_size if isinstance(source, Path) else memoryview(source).nbytes
        self.count = max(1, -(-self._size // PART_BYTES))
        self._id: str | None = None
        self._parts: list[Part | None] = [None] * self.count
        self._etags: list[dict[str, Any]] = [{} for _ in range(self.count)]

    def begin(self) -> None:
        if self.count > 1:
            answer = self._store._patiently(
                self._url,
                lambda: self._store._client.create_multipart_upload(
                    Bucket=self._bucket, Key=self._key, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE"
                ),
            )
            self._id = answer["UploadId"]

    def send(self, index: int) -> None:
        offset = index * PART_BYTES
        data = self._read(offset, min(PART_BYTES, self._size - offset))
        sha = hashlib.sha256(data)
        self._parts[index] = Part(offset=offset, bytes=len(data), sha256=f"sha256:{sha.hexdigest()}")
        checksum = base64.b64encode(sha.digest()).decode()
        target = {"Bucket": self._bucket, "Key": self._key, "Body": data, "ChecksumSHA256": checksum}
        client = self._store._client
        if self._id is None:
            self._store._patiently(self._url, lambda: client.put_object(**target))
            return
        number = {"PartNumber": index + 1}
        answer = self._store._patiently(self._url, lambda: client.upload_part(**target, **number, UploadId=self._id))
        self._etags[index] = {**number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    def _read(self, offset: int, size: int) -> bytes | bytearray:
        if not isinstance(self._source, Path):
            if size == self._size and isinstance(self._source, (bytes, bytearray)):
                return self._source
            return bytes(memoryview(self._source).cast("B")[offset : offset + size])
        with self._source.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def finish(self) -> StoredFile:
        if self._id is not None:
            self._complete()
        return StoredFile(path=self._name, bytes=self._size, parts=[part for part in self._parts if part is not None])

    def _complete(self) -> None:
        def complete() -> None:
            try:
                self._store._client.complete_multipart_upload(
                    Bucket=self._bucket, Key=self._key, UploadId=self._id, MultipartUpload={"Parts": self._etags}
                )
            except ClientError as error:
                # A completion whose answer was lost leaves no upload to complete, but the object.
                if _code(error) != "NoSuchUpload" or not self._arrived():
                    raise

        self._store._patiently(self._url, complete)
        self._id = None

    def _arrived(self) -> bool:
        expected = stored_checksum([part for part in self._parts if part is not None])
        try:
            return self._store.info(self._url).sha256 == expected
        except NotFoundError:
            return False

    def abort(self) -> None:
        """Leave nothing half uploaded; best effort, a janitor aborts what stays."""
        if self._id is None:
            return
        with suppress(ClientError, BotoCoreError, Urllib3Error, OSError):
            self._store._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._id)


class _Sink:
    """Where a file's parts go: memory, or a local file written in place."""

    def __init__(self, file: StoredFile, into: Path | None) -> None:
        self._path = into / file.path if into is not None else None
        self._memory = bytearray(file.bytes) if into is None else bytearray()
        self._fd = -1
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            os.ftruncate(self._fd, file.bytes)

    def write(self, offset: int, chunk: bytes) -> None:
        if self._fd < 0:
            memoryview(self._memory)[offset : offset + len(chunk)] = chunk
            return
        view = memoryview(chunk)
        while view:
            written = os.pwrite(self._fd, view, offset)
            offset, view = offset + written, view[written:]

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def result(self) -> memoryview | Path:
        return memoryview(self._memory) if self._path is None else self._path


def _abandon(futures: Sequence[Future[Any]]) -> None:
    """Cancel what has not begun and wait for the rest, whose results nobody wants any more."""
    for future in futures:
        future.cancel()
    for future in futures:
        if not future.cancelled():
            future.exception()


@cache
def _session() -> botocore.session.Session:
    """One session per process and its forks: it keeps the parsed service model, which takes 0.1 s to read."""
    return botocore.session.get_session()


def stored_checksum(parts: Sequence[Part]) -> str:
    """The checksum a store reports for a file uploaded by these parts: of a multipart object, the SHA-256 over the
    parts' digests, ``<base64>-<parts>``."""
    digests = [bytes.fromhex(part.sha256.removeprefix("sha256:")) for part in parts]
    if len(digests) == 1:
        return base64.b64encode(digests[0]).decode()
    return f"{base64.b64encode(hashlib.sha256(b''.join(digests)).digest()).decode()}-{len(digests)}"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _translate(url: str, error: Exception) -> Exception:
    """What an error of the client library means. Anything not understood is passed on as it is."""
    if isinstance(error, ClientError):
        return _translate_answer(url, error)
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return AccessError(f"{url}: no credentials for the store ({error})")
    if isinstance(error, (ParamValidationError, StoreError)):
        return error
    if isinstance(error, (BotoCoreError, Urllib3Error, ConnectionError, TimeoutError)):
        return _Transient(f"{url}: {type(error).__name__}: {error}")
    return error


def _translate_answer(url: str, error: ClientError) -> StoreError:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = _code(error)
    what = f"{url}: the store answered {status} {code}"
    if code in _ACCESS:
        return AccessError(what)
    if status in (412, 409):
        return PreconditionFailedError(what)
    if status == 416:
        return _OutOfRange(what)
    if status == 404:
        return NotFoundError(what)
    if status >= 500 or status in (408, 429) or code in ("SlowDown", "RequestTimeout", "BadDigest"):
        return _Transient(what)
    if status in (401, 403):
        return AccessError(what)
    return StoreError(what)
