"""Base classes and types of request and response bodies, for every service."""

import re
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from service_kit.problems import MAX_ERRORS
from service_kit.times import rfc3339

ItemT = TypeVar("ItemT")


def _as_utc_if_naive(time: datetime) -> datetime:
    """Database drivers return UTC without a time zone."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


# A time in a response.
UtcDatetime = Annotated[
    datetime,
    AfterValidator(_as_utc_if_naive),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00.000000Z"]}),
]

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _require_rfc3339(value: Any) -> Any:
    """pydantic also accepts numbers, as seconds since 1970."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise PydanticCustomError("datetime_rfc3339", "Write the time as in 2026-01-31T12:00:00Z.")
    return value


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time in UTC is outside of the years 1 to 9999") from error


# A time in a request.
DatetimeParam = Annotated[
    datetime,
    BeforeValidator(_require_rfc3339),
    AfterValidator(_in_utc),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"]}),
]

_UUID = "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"

# The id of an account, a session and so on, in a response.
UuidStr = Annotated[str, Field(examples=["019ac2e4-6f1b-7c3e-9a52-0b7d8d3f4e21"], json_schema_extra={"format": "uuid"})]
# An id in a request.
UuidParam = Annotated[UuidStr, StringConstraints(pattern=f"^{_UUID}$")]


def is_uuid(text: str) -> bool:
    """Whether this is a UUID in lower case. No other text needs a query, and MySQL's ASCII columns refuse some."""
    return re.fullmatch(_UUID, text) is not None


def is_text(text: str) -> bool:
    """False for text with NUL, at which some programs end a text, or with half of a surrogate pair.

    JSON can contain both, and no database accepts the latter.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def require_text(value: Any) -> Any:
    """Raises a validation error if a string, or one inside of a list or an object, is not a text."""
    # Not recursive: the client chooses the depth.
    remaining = [value]
    while remaining:
        each = remaining.pop()
        if isinstance(each, str) and not is_text(each):
            raise PydanticCustomError("string_unicode", "The text has a NUL character or is not valid Unicode.")
        if isinstance(each, list):
            remaining.extend(each)
        elif isinstance(each, dict):
            remaining.extend((*each.keys(), *each.values()))
    return value


class RequestBody(BaseModel):
    """Base of request bodies. An unknown field is an error.

    Types are strict: `"no"` is not a boolean. An enumeration needs `strict=False`, because JSON has none. A list needs
    `fail_fast=True`: a client could send very many wrong items, and pydantic creates an error for each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _limit_unknown_fields(cls, value: Any) -> Any:
        """Remove unknown fields over `MAX_ERRORS`: pydantic would create an error for each of thousands."""
        known = cls.model_fields
        if not isinstance(value, dict) or len(value) <= len(known) + MAX_ERRORS:
            return value
        unknown = islice((item for item in value.items() if item[0] not in known), MAX_ERRORS)
        return {name: value[name] for name in known if name in value} | dict(unknown)

    @field_validator("*", mode="wrap")
    @classmethod
    def _require_text(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        # A list or an object is examined after the validation, which has limited its type and length.
        if isinstance(value, str):
            return validate(require_text(value))
        return require_text(validate(value))


class ResponseBody(BaseModel):
    """Base of response bodies."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Page(ResponseBody, Generic[ItemT]):
    """One page of a list. `next_cursor` is null on the last page."""

    items: list[ItemT]
    next_cursor: str | None = Field(examples=["WyIwMTlhYzJlNC02ZjFiLTdjM2UtOWE1Mi0wYjdkOGQzZjRlMjEiXQ"])
