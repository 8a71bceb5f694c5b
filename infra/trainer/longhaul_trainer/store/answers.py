"""What the store's answers, and its silence, mean: ``answers.json`` says it, for the control plane too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    TokenRetrievalError,
)
from urllib3.exceptions import HTTPError as Urllib3Error

from longhaul_trainer.errors import (
    AccessError,
    AddressError,
    ClockError,
    NotFoundError,
    OutOfRangeError,
    PreconditionFailedError,
    RefusedError,
    StoreError,
    TransientError,
)

TABLE: dict[str, dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("answers.json").read_text(encoding="utf-8")
)
"""``classes``, and rows by the store's own ``codes`` and by ``statuses``."""

ERRORS: dict[str, type[StoreError]] = {
    "not-found": NotFoundError,
    "precondition-failed": PreconditionFailedError,
    "unavailable": TransientError,
    "access-denied": AccessError,
    "clock-skewed": ClockError,
    "wrong-address": AddressError,
    "out-of-range": OutOfRangeError,
    "refused": RefusedError,
}
"""The exception of each class."""


@dataclass(frozen=True)
class Meaning:
    """Class of an answer, and what an operator can do about it."""

    class_: str
    remedy: str


def meaning_of(status: int, code: str) -> Meaning:
    """Meaning of an answer with this HTTP status and code; ``code`` empty: it has none of the store's."""
    codes, statuses = TABLE["codes"], TABLE["statuses"]
    row = codes.get(code) or statuses.get(str(status)) or statuses.get(f"{status // 100}xx") or statuses["any"]
    return Meaning(row["class"], row.get("remedy", TABLE["classes"][row["class"]]["remedy"]))


def status_of(error: ClientError) -> int:
    """The answer's HTTP status."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: ClientError) -> str:
    """The store's own word for what is wrong; empty where the answer has none, to a HEAD or by a proxy: botocore then
    repeats the status."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return "" if code == str(status_of(error)) else code


def translate(url: str, error: Exception) -> Exception:
    """What an error of the client library means. Anything not understood is passed on as it is."""
    if isinstance(error, ClientError):
        return _translate_answer(url, error)
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, TokenRetrievalError)):
        return AccessError(f"{url}: no credentials for the store ({error})")
    if isinstance(error, (ParamValidationError, StoreError)):
        return error
    if isinstance(error, (BotoCoreError, Urllib3Error, ConnectionError, TimeoutError)):
        return TransientError(f"{url}: {type(error).__name__}: {error}")
    return error


def _translate_answer(url: str, error: ClientError) -> StoreError:
    status, code = status_of(error), code_of(error)
    meaning = meaning_of(status, code)
    told = code or "without a word of its own"
    return ERRORS[meaning.class_](f"{url}: the store answered {status} {told}. What can be done: {meaning.remedy}")


def no_stores(url: str) -> TransientError:
    """An answer of success that lacks what a store's has: a proxy's or portal's page."""
    return TransientError(f"{url}: what answered is no object store")


def etag_in(url: str, answer: dict[str, Any]) -> str:
    """The ETag that every answer of a store about an object carries. Raises TransientError: it isn't the store's."""
    etag = answer.get("ETag")
    if not etag:
        raise no_stores(url)
    return str(etag)
