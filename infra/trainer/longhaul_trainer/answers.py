"""What the store's answers, and its silence, mean."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from urllib3.exceptions import HTTPError as Urllib3Error

from .errors import AccessError, NotFoundError, PreconditionFailedError, StoreError

_ACCESS = {
    "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "NoSuchBucket",
    "TokenRefreshRequired", "AuthorizationHeaderMalformed", "InvalidBucketName",
}  # fmt: skip


class TransientError(StoreError):
    """Worth another try."""


class OutOfRangeError(StoreError):
    """A range that the object does not have: it is shorter than thought."""


def code_of(error: ClientError) -> str:
    """The store's own word for what is wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))


def translate(url: str, error: Exception) -> Exception:
    """What an error of the client library means. Anything not understood is passed on as it is."""
    if isinstance(error, ClientError):
        return _translate_answer(url, error)
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return AccessError(f"{url}: no credentials for the store ({error})")
    if isinstance(error, (ParamValidationError, StoreError)):
        return error
    if isinstance(error, (BotoCoreError, Urllib3Error, ConnectionError, TimeoutError)):
        return TransientError(f"{url}: {type(error).__name__}: {error}")
    return error


def _translate_answer(url: str, error: ClientError) -> StoreError:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = code_of(error)
    what = f"{url}: the store answered {status} {code}"
    if code in _ACCESS:
        return AccessError(what)
    if status in (412, 409):
        return PreconditionFailedError(what)
    if status == 416:
        return OutOfRangeError(what)
    if status == 404:
        return NotFoundError(what)
    if status >= 500 or status in (408, 429) or code in ("SlowDown", "RequestTimeout", "BadDigest"):
        return TransientError(what)
    if status in (401, 403):
        return AccessError(what)
    return StoreError(what)
