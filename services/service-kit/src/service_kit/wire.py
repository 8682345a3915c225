"""Building blocks of request and response bodies."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, WithJsonSchema, field_validator
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


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class RequestBody(BaseModel):
    """Base of what a client sends: a field nobody knows is an error, not a silent no-op."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_half_characters(cls, value: Any) -> Any:
        """JSON can spell half of a surrogate pair, which no database takes."""
        if isinstance(value, str) and not _is_unicode(value):
            raise PydanticCustomError("string_unicode", "The text is not valid Unicode.")
        return value


class ResponseBody(BaseModel):
    """Base of what a client gets."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Page(ResponseBody, Generic[ItemT]):
    """One page of a list. `next_cursor` is null on the last one."""

    items: list[ItemT]
    next_cursor: str | None
