"""Records of the dead letters' topic. Pure.

The topic is a log of two kinds of records. A *dead letter* is an event as it came, with the headers of Kafka Connect
(KIP-298) and the id of its topic. A *resolution* is a later record of the same partition without a value. Its headers
name a dead letter and its result. A dead letter without a resolution is open.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Self, TypeAlias, cast

from aiokafka import ConsumerRecord

from sync_service.routes.exclusion import ExcludedFields
from sync_service.routes.personal import MASK
from sync_service.timestamps import to_datetime

DEAD_LETTERS_TOPIC = "sync.dead-letters"
SINK_NAME = "sync-service"

# Kafka Connect's names: the value could not be decoded or mapped, or the store rejected it.
Stage = Literal["VALUE_CONVERTER", "TASK_PUT"]
# The results of a resolution: applied, skipped (older than the row, or no change), discarded by a user.
Result = Literal["applied", "skipped", "discarded"]

Record: TypeAlias = ConsumerRecord[bytes, bytes]
Headers: TypeAlias = Sequence[tuple[str, bytes]]

_ERROR = "__connect.errors."
_ORIGIN_TOPIC = f"{_ERROR}topic"
_TOPIC_ID = "sync.origin.topic-id"
_OMITTED_BYTES = "sync.origin.omitted-bytes"
_RESOLVED = "sync.resolution.letter"
_RESULT = "sync.resolution.result"
_BY = "sync.resolution.by"
_REPLACES = "sync.replaces"

# The topic id of dead letters of earlier releases, which have none. No topic has this id.
UNKNOWN_TOPIC_ID = "0" * 32
_REASON_LENGTH = 2000
_LONGEST_ID = re.compile(r"([0-9]{1,9})-([0-9]{1,18})")


class DeadLetterId(NamedTuple):
    """The position of the dead letter in the topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"

    @classmethod
    def of(cls, text: str) -> Self | None:
        """None if the text is not an id."""
        found = _LONGEST_ID.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None


class Origin(NamedTuple):
    """The position of the event in its topic."""

    topic: str
    topic_id: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`headers` are the event's own. With `omitted_bytes` the event was too large, and key and value are left out.

    `replaces` is the dead letter of which this one is a copy without excluded fields (`erasure.py`).
    """

    id: DeadLetterId
    origin: Origin
    stage: str
    error: str
    reason: str
    failed_at: datetime
    key: bytes | None
    value: bytes | None
    headers: Headers
    omitted_bytes: int | None
    replaces: DeadLetterId | None = None


@dataclass(frozen=True, slots=True)
class Resolution:
    letter: DeadLetterId
    result: Result
    by: str
    at: datetime


def dead_letter_headers(record: Record, stage: Stage, error: Exception, topic_id: str) -> list[tuple[str, bytes]]:
    """The headers that a dead letter has in addition to those of the event."""
    headers = {
        _ORIGIN_TOPIC: record.topic,
        f"{_ERROR}partition": str(record.partition),
        f"{_ERROR}offset": str(record.offset),
        f"{_ERROR}connector.name": SINK_NAME,
        f"{_ERROR}task.id": "0",
        f"{_ERROR}stage": stage,
        f"{_ERROR}class.name": f"{type(error).__module__}.{type(error).__qualname__}",
        f"{_ERROR}exception.class.name": type(error).__qualname__,
        f"{_ERROR}exception.message": str(error)[:_REASON_LENGTH],
        _TOPIC_ID: topic_id,
    }
    return _encoded(headers)


def omission_header(record: Record) -> tuple[str, bytes]:
    """Marks a dead letter without key, value and headers of its event, with their size in bytes."""
    size = len(record.key or b"") + len(record.value or b"")
    return _OMITTED_BYTES, str(size).encode()


def resolution_headers(letter: DeadLetterId, result: Result, by: str) -> list[tuple[str, bytes]]:
    return _encoded({_RESOLVED: str(letter), _RESULT: result, _BY: by})


def copy_headers(letter: Record) -> list[tuple[str, bytes]]:
    """The headers of a copy that replaces a dead letter."""
    kept = [(name, value or b"") for name, value in letter.headers if name != _REPLACES]
    return [*kept, (_REPLACES, str(DeadLetterId(letter.partition, letter.offset)).encode())]


def without_excluded(
    key: bytes | None, value: bytes | None, headers: Headers, excluded: ExcludedFields
) -> tuple[bytes | None, bytes | None, Headers]:
    """Key, value and headers of a record without excluded fields. The reason of an error may quote their values."""
    if value is None or not excluded.are_in(value):
        return key, value, headers
    value, removed = excluded.removed_from(value)
    texts = sorted({text.encode(errors="surrogatepass") for text in removed if text}, key=len, reverse=True)

    def cleaned(content: bytes) -> bytes:
        for each in texts:
            content = content.replace(each, MASK.encode())
        # A reason may quote a part of the event.
        return excluded.removed_from_text(content)[0]

    names = (name for name, _ in headers)
    contents = [cleaned(content or b"") if name != _ORIGIN_TOPIC else content for name, content in headers]
    return None if key is None else cleaned(key), value, list(zip(names, contents, strict=True))


def read(record: Record) -> DeadLetter | Resolution | None:
    """Parse a record of the topic. None if it is neither a dead letter nor a resolution."""
    # Of two headers with the same name the last one is ours, because an event may have any headers.
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    if _ORIGIN_TOPIC in headers:
        return _letter(record, headers)
    if (resolved := DeadLetterId.of(headers.get(_RESOLVED, ""))) is not None:
        result = cast("Result", headers.get(_RESULT, "discarded"))
        return Resolution(resolved, result, headers.get(_BY, ""), to_datetime(record.timestamp))
    return None


def _letter(record: Record, headers: Mapping[str, str]) -> DeadLetter | None:
    partition, offset = headers.get(f"{_ERROR}partition", ""), headers.get(f"{_ERROR}offset", "")
    if not (partition.isdecimal() and offset.isdecimal()):
        return None
    origin = Origin(headers[_ORIGIN_TOPIC], headers.get(_TOPIC_ID, UNKNOWN_TOPIC_ID), int(partition), int(offset))
    omitted = headers.get(_OMITTED_BYTES)
    return DeadLetter(
        id=DeadLetterId(record.partition, record.offset),
        origin=origin,
        stage=headers.get(f"{_ERROR}stage", ""),
        error=headers.get(f"{_ERROR}exception.class.name", ""),
        reason=headers.get(f"{_ERROR}exception.message", ""),
        failed_at=to_datetime(record.timestamp),
        key=record.key,
        value=record.value,
        headers=[(name, value) for name, value in record.headers if not name.startswith((_ERROR, "sync."))],
        omitted_bytes=int(omitted) if omitted and omitted.isdecimal() else None,
        replaces=DeadLetterId.of(headers.get(_REPLACES, "")),
    )


def _encoded(headers: Mapping[str, str]) -> list[tuple[str, bytes]]:
    return [(name, text.encode(errors="replace")) for name, text in headers.items()]
