"""Records of the dead letters' topic. Pure.

The topic is a log: a *letter* is an event as it came, with headers as Kafka Connect has them (KIP-298) and the id of
the topic it came from; a *resolution* is a later record of the same partition without a value, whose headers name a
letter and tell what became of it. What is open is letters without a resolution.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Self, TypeAlias, cast

from aiokafka import ConsumerRecord

from sync_service.timestamps import to_datetime

DEAD_LETTERS_TOPIC = "sync.dead-letters"
SINK_NAME = "sync-service"

# Kafka Connect's names: the value could not be read, or the store did not take it.
Stage = Literal["VALUE_CONVERTER", "TASK_PUT"]
# How a letter can be done with: applied; older than the row or nothing to apply; put aside by somebody.
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

# Where a letter of an earlier release, which has no topic id, is taken to come from. No topic has this id.
UNKNOWN_TOPIC_ID = "0" * 32
_REASON_LENGTH = 2000
_LONGEST_ID = re.compile(r"([0-9]{1,9})-([0-9]{1,18})")


class DeadLetterId(NamedTuple):
    """Where the letter is in the topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"

    @classmethod
    def of(cls, text: str) -> Self | None:
        """None: this can't be an id."""
        found = _LONGEST_ID.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None


class Origin(NamedTuple):
    """The event that a letter is about."""

    topic: str
    topic_id: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`headers` are the event's own. With `omitted_bytes` the event was too large for the topic, and is not in it."""

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


@dataclass(frozen=True, slots=True)
class Resolution:
    letter: DeadLetterId
    result: Result
    by: str
    at: datetime


def dead_letter_headers(record: Record, stage: Stage, error: Exception, topic_id: str) -> list[tuple[str, bytes]]:
    """What a letter has beyond the event's own headers."""
    told = {
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
    return _encoded(told)


def omission_header(record: Record) -> tuple[str, bytes]:
    """Says that key, value and headers of the event are not in the letter, and how many bytes they were."""
    size = len(record.key or b"") + len(record.value or b"")
    return _OMITTED_BYTES, str(size).encode()


def resolution_headers(letter: DeadLetterId, result: Result, by: str) -> list[tuple[str, bytes]]:
    return _encoded({_RESOLVED: str(letter), _RESULT: result, _BY: by})


def read(record: Record) -> DeadLetter | Resolution | None:
    """What a record of the topic is; None: something that somebody else has put there."""
    # Of a name that occurs twice the last one is ours: an event may have any headers.
    told = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    if _ORIGIN_TOPIC in told:
        return _letter(record, told)
    if (resolved := DeadLetterId.of(told.get(_RESOLVED, ""))) is not None:
        result = cast("Result", told.get(_RESULT, "discarded"))
        return Resolution(resolved, result, told.get(_BY, ""), to_datetime(record.timestamp))
    return None


def _letter(record: Record, told: Mapping[str, str]) -> DeadLetter | None:
    partition, offset = told.get(f"{_ERROR}partition", ""), told.get(f"{_ERROR}offset", "")
    if not (partition.isdecimal() and offset.isdecimal()):
        return None
    origin = Origin(told[_ORIGIN_TOPIC], told.get(_TOPIC_ID, UNKNOWN_TOPIC_ID), int(partition), int(offset))
    omitted = told.get(_OMITTED_BYTES)
    return DeadLetter(
        id=DeadLetterId(record.partition, record.offset),
        origin=origin,
        stage=told.get(f"{_ERROR}stage", ""),
        error=told.get(f"{_ERROR}exception.class.name", ""),
        reason=told.get(f"{_ERROR}exception.message", ""),
        failed_at=to_datetime(record.timestamp),
        key=record.key,
        value=record.value,
        headers=[(name, value) for name, value in record.headers if not name.startswith((_ERROR, "sync."))],
        omitted_bytes=int(omitted) if omitted and omitted.isdecimal() else None,
    )


def _encoded(told: Mapping[str, str]) -> list[tuple[str, bytes]]:
    return [(name, text.encode(errors="replace")) for name, text in told.items()]
