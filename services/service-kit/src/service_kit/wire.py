"""Building blocks of request and response bodies."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

ItemT = TypeVar("ItemT")


def rfc3339(moment: datetime) -> str:
    """Write a moment as RFC 3339 in UTC with microseconds: `2026-01-31T12:00:00.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _aware(moment: datetime) -> datetime:
    """Databases hand out UTC without saying so."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


UtcDatetime = Annotated[
    datetime,
    AfterValidator(_aware),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00.000000Z"]}),
]

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _refuse_other_notations(value: Any) -> Any:
    """pydantic would take `0.5` too: so many seconds after 1970 began."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise PydanticCustomError("datetime_rfc3339", "Write a moment as in 2026-01-31T12:00:00Z.")
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("in UTC this is outside of the years 1 to 9999") from error


# A moment that a client names.
GivenMoment = Annotated[
    datetime,
    BeforeValidator(_refuse_other_notations),
    AfterValidator(_in_utc),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"]}),
]

_ID = "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"

# The id of an account, or of what belongs to one: a UUID.
Id = Annotated[str, Field(examples=["019ac2e4-6f1b-7c3e-9a52-0b7d8d3f4e21"], json_schema_extra={"format": "uuid"})]
# One that a client names.
GivenId = Annotated[Id, StringConstraints(pattern=f"^{_ID}$")]


def is_id(text: str) -> bool:
    """Can this be an `Id`? What can't need not be looked for, nor should it be: MySQL keeps them in ASCII."""
    return re.fullmatch(_ID, text) is not None


def is_unicode(text: str) -> bool:
    """JSON can spell half of a surrogate pair, which no database takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class RequestBody(BaseModel):
    """Base of what a client sends: a field nobody knows is an error, not a silent no-op.

    A value is what its type says, not something that can be made into it: `"no"` is no boolean. An enumeration needs
    `strict=False`, for JSON has none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_half_characters(cls, value: Any) -> Any:
        if isinstance(value, str) and not is_unicode(value):
            raise PydanticCustomError("string_unicode", "The text is not valid Unicode.")
        return value


class ResponseBody(BaseModel):
    """Base of what a client gets."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Page(ResponseBody, Generic[ItemT]):
    """One page of a list. `next_cursor` is null on the last one."""

    items: list[ItemT]
    next_cursor: str | None = Field(examples=["WyIwMTlhYzJlNC02ZjFiLTdjM2UtOWE1Mi0wYjdkOGQzZjRlMjEiXQ"])
