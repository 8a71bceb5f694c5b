"""What every contract is made of: strict models, the small types they share, and how JSON is read and written."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    field_validator,
    model_serializer,
)
from pydantic import ValidationError as _PydanticValidationError
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from typing_extensions import TypeForm

_SAFE = 2**53 - 1  # JavaScript's largest exact integer; zod's int() refuses more


class ContractError(ValueError):
    """JSON that breaks a contract. The message lists every problem with its path, ``$.commit.step: ...``."""


class Contract(BaseModel):
    """Base of every contract: strict types, no unknown keys, camel-case JSON, immutable."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        defer_build=True,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
    )


def absent_not_null(value: object) -> object:
    """For keys that may be left out: zod's ``optional`` does not take null either."""
    if value is None:
        raise ValueError("leave the key out instead of null")
    return value


class Sparse(Contract):
    """A contract with keys that may be left out: those whose default is None, which is not written, nor read as null."""

    @field_validator("*", mode="after")
    @classmethod
    def _absent_not_null(cls, value: object) -> object:
        return absent_not_null(value)

    @model_serializer(mode="wrap")
    def _leave_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


def _instant(value: str) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value, re.ASCII) is None:
        raise ValueError("expected ISO 8601 in UTC with milliseconds")
    datetime.fromisoformat(value.replace("Z", "+00:00"))
    return value


Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""``sha256:<64 lower-case hex digits>``."""
ObjectUrl = Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]+/.*[^/]$")]
"""``s3://bucket/key``, no trailing slash."""
Instant = Annotated[str, AfterValidator(_instant)]
"""ISO 8601, UTC, milliseconds."""
CommitId = Annotated[str, Field(pattern=r"^[0-9]{8}-[0-9]{4,}-[0-9a-f]{8}$")]
"""``<step>-<epoch>-<nonce>``."""
FileName = Annotated[
    str,
    Field(
        pattern=r"^(?:(?:[^./\\\p{Cc}]|\.[^./\\\p{Cc}]|\.\.[^/\\\p{Cc}])[^/\\\p{Cc}]*)"
        r"(?:/(?:[^./\\\p{Cc}]|\.[^./\\\p{Cc}]|\.\.[^/\\\p{Cc}])[^/\\\p{Cc}]*)*$"
    ),
]
"""A path below a prefix: parts between slashes, none of them empty, ``.`` or ``..``."""
Text = Annotated[str, Field(min_length=1)]
Natural = Annotated[int, Field(ge=0, le=_SAFE)]
Positive = Annotated[int, Field(gt=0, le=_SAFE)]
Number = float
NonNegative = Annotated[float, Field(ge=0)]
PositiveNumber = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Epoch = Natural

_adapters: dict[object, TypeAdapter[Any]] = {}
T = TypeVar("T")


def parse(contract: TypeForm[T], data: bytes, what: str = "object") -> T:
    """Read JSON ``data`` as ``contract`` (a class or union of this module).

    Raises ContractError naming ``what`` and every problem with its path.
    """
    adapter = _adapters.get(contract)
    if adapter is None:
        adapter = _adapters[contract] = TypeAdapter(contract)
    try:
        value: T = adapter.validate_json(data, by_alias=True, by_name=False)
        return value
    except _PydanticValidationError as error:
        problems = "; ".join(
            f"{_path(e, not isinstance(contract, type))}: {e['msg']}" for e in error.errors(include_url=False)
        )
        raise ContractError(f"{what} is invalid: {problems}") from None


_UNIONS = ("events", "tasks", "records", "initialize")  # keys of discriminated unions, and of lists of them
_TAGS = (
    {"train", "evaluate", "model", "checkpoint", "kv-recall", "needle", "held-out-loss"}
    | {"phase", "step", "commit", "sample", "log", "trained", "evaluated", "ended"}
    | {"str", "bool", "int", "float"}
)


def _path(error: Any, is_union: bool) -> str:
    """JSON path of a pydantic error. Pydantic names a union's variant in the location, where JSON has no such key.

    ``is_union``: the contract itself is a union.
    """
    location = error["loc"]
    keys: list[int | str] = []
    for index, key in enumerate(location):
        around = [before for before in location[:index] if not isinstance(before, int)][-1:]
        variant = around[0] in _UNIONS if around else is_union
        scalar = key in ("str", "bool", "int", "float") and index == len(location) - 1
        if not (key in _TAGS and (variant or scalar)):
            keys.append(key)
    if error["type"] in ("union_tag_not_found", "union_tag_invalid"):
        keys.append(error["ctx"]["discriminator"].split(" | ")[-1].strip("'"))  # 'from_' | 'from': the alias last
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)


def dump(value: Contract, *, compact: bool = False) -> bytes:
    """``value`` as JSON bytes, UTF-8, ending with a newline; on one line if ``compact``. Refuses NaN, infinities."""
    form: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 1}
    return (json.dumps(value.model_dump(mode="json"), ensure_ascii=False, allow_nan=False, **form) + "\n").encode()


def now() -> str:
    """The present as an Instant."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
