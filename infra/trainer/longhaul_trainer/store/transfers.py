"""Large files on their way to and from the store: parts of 64 MiB in parallel, hashed on the way, in bounded memory."""

from __future__ import annotations

import base64
import hashlib
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError as Urllib3Error

from longhaul_trainer.contracts import PART_BYTES, Part, StoredFile
from longhaul_trainer.contracts.layout import split_url
from longhaul_trainer.errors import NotFoundError, OutOfRangeError, TransientError
from longhaul_trainer.store.answers import code_of, etag_in, no_stores
from longhaul_trainer.store.client import Store

_CHUNK = 1024 * 1024


class Pieces:
    """A file's contents as buffers one after the other, which nobody puts together but the parts on their way."""

    def __init__(self, buffers: Iterable[bytes | memoryview]) -> None:
        self._buffers = [memoryview(buffer).cast("B") for buffer in buffers]
        self._ends = list(accumulate(buffer.nbytes for buffer in self._buffers))

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._ends[-1] if self._ends else 0

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on, `size` of them or as many as there are."""
        found: list[memoryview] = []
        index = bisect_right(self._ends, offset)
        while size > 0 and index < len(self._buffers):
            start = offset - (self._ends[index] - self._buffers[index].nbytes)
            piece = self._buffers[index][start : start + size]
            found.append(piece)
            offset, size, index = offset + piece.nbytes, size - piece.nbytes, index + 1
        return b"".join(found)


Source = bytes | bytearray | memoryview | Pieces | Path
"""Contents of a file: in memory, or a local file."""

Lazy = Source | Callable[[], Source]
"""Contents of a file, or what makes them when they are needed."""


def upload_all(store: Store, prefix: str, files: Mapping[str, Source]) -> list[StoredFile]:
    """Upload ``files`` below ``prefix``, parts in parallel, hashed as they are read; memory is bounded by
    the parts in flight. Files above 64 MiB become multipart uploads, aborted on failure.

    Returns their entries for a manifest, sorted by path.
    """
    uploads = [_Upload(store, f"{prefix}/{name}", name, source) for name, source in sorted(files.items())]
    futures: list[Future[None]] = []
    try:
        for upload in uploads:
            upload.begin()
            futures += [store.pool.submit(upload.send, index) for index in range(upload.count)]
        for future in futures:
            future.result()
        return [upload.finish() for upload in uploads]
    except BaseException:
        _abandon(futures)
        for upload in uploads:
            upload.abort()
        raise


def download_all(
    store: Store, prefix: str, files: Sequence[StoredFile], into: Path | None = None
) -> tuple[dict[str, memoryview | Path], list[str]]:
    """Fetch ``files`` from below ``prefix`` by parallel ranged reads, each part verified as it arrives.

    ``into``: a local folder; None: into memory. Returns the contents by path, and the problems: parts that
    disagreed with their digest on two reads, wrong sizes, objects that are gone. Store errors are raised, they
    are no evidence about the contents.
    """
    sinks = {file.path: _Sink(file, into) for file in files}
    futures = [
        store.pool.submit(_verified_part, store, f"{prefix}/{file.path}", file, part, sinks[file.path])
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


def _verified_part(store: Store, url: str, file: StoredFile, part: Part, sink: _Sink) -> str | None:
    """Two reads must disagree with the manifest before a part counts as corrupt."""
    problem: str | None = None
    for _ in range(2):
        try:
            problem = store.patiently(url, lambda: _read_part(store, url, file, part, sink))
        except NotFoundError:
            problem = f"{file.path} is gone"
        except OutOfRangeError:
            problem = f"{file.path} is shorter than its {file.bytes} bytes"
        if problem is None:
            return None
    return problem


def _read_part(store: Store, url: str, file: StoredFile, part: Part, sink: _Sink) -> str | None:
    bucket, key = split_url(url)
    if part.bytes == 0:
        size = store.info(url).bytes
        return None if size == file.bytes else f"{file.path} has {size} bytes, not {file.bytes}"
    end = part.offset + part.bytes - 1
    answer = store.client.get_object(Bucket=bucket, Key=key, Range=f"bytes={part.offset}-{end}")
    if not answer.get("ContentRange"):
        raise no_stores(url)
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
        raise TransientError(f"{url}: the answer ended early")
    if f"sha256:{digest.hexdigest()}" != part.sha256:
        return f"{file.path}: bytes {part.offset} to {end} do not match their digest"
    return None


def _size_of(source: Source) -> int:
    match source:
        case Path():
            return source.stat().st_size
        case Pieces():
            return source.nbytes
        case _:
            return memoryview(source).nbytes


class _Upload:
    """One file on its way up: a plain PUT up to 64 MiB, else a multipart upload with the manifest's own parts."""

    def __init__(self, store: Store, url: str, name: str, source: Source) -> None:
        self._store, self._url, self._name, self._source = store, url, name, source
        self._bucket, self._key = split_url(url)
        self._size = _size_of(source)
        self.count = max(1, -(-self._size // PART_BYTES))
        self._id: str | None = None
        self._parts: list[Part | None] = [None] * self.count
        self._etags: list[dict[str, Any]] = [{} for _ in range(self.count)]

    def begin(self) -> None:
        if self.count > 1:
            answer = self._store.patiently(
                self._url,
                lambda: self._store.client.create_multipart_upload(
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
        store = self._store  # whose client may be another one at the next try
        if self._id is None:
            store.patiently(self._url, lambda: etag_in(self._url, store.client.put_object(**target)))
            return
        number = {"PartNumber": index + 1}
        etag = store.patiently(
            self._url,
            lambda: etag_in(self._url, store.client.upload_part(**target, **number, UploadId=self._id)),
        )
        self._etags[index] = {**number, "ETag": etag, "ChecksumSHA256": checksum}

    def _read(self, offset: int, size: int) -> bytes | bytearray:
        if isinstance(self._source, Pieces):
            return self._source.read(offset, size)
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
                self._store.client.complete_multipart_upload(
                    Bucket=self._bucket, Key=self._key, UploadId=self._id, MultipartUpload={"Parts": self._etags}
                )
            except ClientError as error:
                # A completion whose answer was lost leaves no upload to complete, but the object.
                if code_of(error) != "NoSuchUpload" or not self._arrived():
                    raise

        self._store.patiently(self._url, complete)
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
            self._store.client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._id)


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


def stored_checksum(parts: Sequence[Part]) -> str:
    """The checksum a store reports for a file uploaded by these parts: of a multipart object, the SHA-256 over the
    parts' digests, ``<base64>-<parts>``."""
    digests = [bytes.fromhex(part.sha256.removeprefix("sha256:")) for part in parts]
    if len(digests) == 1:
        return base64.b64encode(digests[0]).decode()
    return f"{base64.b64encode(hashlib.sha256(b''.join(digests)).digest()).decode()}-{len(digests)}"
