"""Wire shapes of dead letters."""

import base64
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from service_kit.schemas import RequestBody, ResponseBody, UtcDatetime
from sync_service.dead_letters.models import DeadLetter, Resolution
from sync_service.dead_letters.service import ResolveResult
from sync_service.routes.personal import MASK, PersonalFields

# The most dead letters that one request retries or discards.
MOST_AT_ONCE = 200
LONGEST_KEY = 200

ID_PATTERN = "^[0-9]{1,9}-[0-9]{1,18}$"
DeadLetterIdText = Annotated[str, Field(examples=["0-17"], description="Partition and offset in `sync.dead-letters`.")]
DeadLetterIdParam = Annotated[DeadLetterIdText, StringConstraints(pattern=ID_PATTERN)]

_Reason = Annotated[str, Field(examples=["version: a str that is no integer"])]


class DeadLetterSummary(ResponseBody):
    """An event that could not be applied. `topic`, `partition` and `offset` are those of the event."""

    id: DeadLetterIdText
    route: str | None = Field(examples=["tweets"], description="Null if no route reads the topic any more.")
    topic: str = Field(examples=["cdc.mongo.tweets.tweets"])
    partition: int = Field(examples=[3])
    offset: int = Field(examples=[4711])
    key: str | None = Field(
        examples=['{"id":"{\\"$oid\\": \\"6924ea2f0c9d3a5b7e1f4a68\\"}"}'],
        description=f"The first {LONGEST_KEY} characters.",
    )
    stage: str = Field(
        examples=["VALUE_CONVERTER"],
        description="VALUE_CONVERTER: it could not be decoded or mapped. TASK_PUT: the store rejected it.",
    )
    error: str = Field(examples=["UnfitValue"])
    reason: _Reason
    failed_at: UtcDatetime
    size: int = Field(examples=[812], description="Bytes of key and value.")

    @classmethod
    def of(cls, letter: DeadLetter, route: str | None, personal: PersonalFields | None = None) -> Self:
        """Without the values of personal fields; None if the reader may see all of them."""
        return cls(**_summary(letter, route, personal))


class DeadLetterHeader(ResponseBody):
    name: str = Field(examples=["__debezium.newkey"])
    value: str = Field(examples=["{}"])


class DeadLetterResolution(ResponseBody):
    result: Literal["applied", "skipped", "discarded"]
    by: str = Field(examples=["ada"])
    at: UtcDatetime


class DeadLetterDetail(DeadLetterSummary):
    """A dead letter with the value and headers of its event, and its resolution."""

    value: str | None = Field(
        examples=['{"op":"c","after":"{}"}'],
        description="Null if the event was too large for the dead letters; its own topic keeps it for a week.",
    )
    encoding: Literal["utf-8", "base64"] = Field(description="The encoding of `value`: base64 if it is not UTF-8.")
    headers: list[DeadLetterHeader]
    resolution: DeadLetterResolution | None = Field(description="Null while the dead letter is open.")

    @classmethod
    def with_resolution(
        cls,
        letter: DeadLetter,
        route: str | None,
        resolution: Resolution | None,
        personal: PersonalFields | None = None,
    ) -> Self:
        """Without the values of personal fields; None if the reader may see all of them."""
        value, encoding = _text(letter.value, personal)
        return cls(
            **_summary(letter, route, personal),
            value=value if letter.omitted_bytes is None else None,
            encoding=encoding,
            headers=[DeadLetterHeader(name=name, value=text) for name, text in _headers(letter, personal)],
            resolution=None if resolution is None else DeadLetterResolution.model_validate(resolution),
        )


class ResolvedDeadLetter(ResponseBody):
    """The outcome of a retry or discard. A rejected dead letter stays open."""

    id: DeadLetterIdText
    outcome: Literal["applied", "skipped", "discarded", "rejected", "not-found", "already-resolved"] = Field(
        description="skipped: the row is newer than the event, or the event makes no change."
    )
    reason: _Reason | None = Field(description="Why the retry was rejected.")

    @classmethod
    def of(cls, result: ResolveResult) -> Self:
        return cls(id=str(result.id), outcome=result.outcome, reason=result.reason)


class DeadLetterSelection(RequestBody):
    """Either dead letters by their ids, or the oldest ones of a route after the cursor."""

    action: Literal["retry", "discard"]
    ids: list[DeadLetterIdParam] | None = Field(
        default=None, min_length=1, max_length=MOST_AT_ONCE, fail_fast=True, examples=[["0-17"]]
    )
    route: str | None = Field(default=None, max_length=100, examples=["tweets"])
    cursor: str | None = Field(default=None, max_length=200, description="`next_cursor` of the previous answer.")

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.ids is None) == (self.route is None):
            raise ValueError("either ids or route is required, not both")
        if self.cursor is not None and self.route is None:
            raise ValueError("a cursor is for a route only")
        return self


class ResolvedDeadLetters(ResponseBody):
    """`next_cursor` is null after the last one."""

    items: list[ResolvedDeadLetter]
    next_cursor: str | None = Field(examples=["WzAsMTdd"])


def _summary(letter: DeadLetter, route: str | None, personal: PersonalFields | None) -> dict[str, object]:
    size = len(letter.key or b"") + len(letter.value or b"")
    key = None if letter.key is None else letter.key.decode(errors="replace")
    if personal is not None:
        key = personal.key_text(key)
    return {
        "id": str(letter.id),
        "route": route,
        "topic": letter.origin.topic,
        "partition": letter.origin.partition,
        "offset": letter.origin.offset,
        "key": None if key is None else key[:LONGEST_KEY],
        "stage": letter.stage,
        "error": letter.error,
        "reason": letter.reason,
        "failed_at": letter.failed_at,
        "size": size if letter.omitted_bytes is None else letter.omitted_bytes,
    }


def _headers(letter: DeadLetter, personal: PersonalFields | None) -> Iterator[tuple[str, str]]:
    for name, content in letter.headers:
        text = (content or b"").decode(errors="replace")
        yield name, text if personal is None else personal.header(name, text)


def _text(content: bytes | None, personal: PersonalFields | None) -> tuple[str | None, Literal["utf-8", "base64"]]:
    if content is None:
        return None, "utf-8"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        if personal is None or personal.is_empty:
            return base64.b64encode(content).decode(), "base64"
        return MASK, "utf-8"
    return text if personal is None else personal.value_text(text), "utf-8"
