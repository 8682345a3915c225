"""A change event as text for people, or as a line of JSON for programs. Pure."""

import json
from datetime import UTC, datetime
from typing import Any

from aiokafka import ConsumerRecord

from service_kit.wire import rfc3339
from sync_service.events.envelope import decode
from sync_service.events.problems import InvalidEvent
from sync_service.routes.types import convert

DEAD_LETTER_MESSAGE = "__connect.errors.exception.message"

_OPERATIONS = {"c": "create", "u": "update", "d": "delete", "r": "read (snapshot)"}


def as_json(record: "ConsumerRecord[bytes, bytes]") -> str | None:
    """One line; None for a log-compaction tombstone."""
    told: dict[str, Any] = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    if reason := _dead_letter_reason(record):
        told["dead_letter"] = reason
    try:
        event = _told(record)
    except InvalidEvent as error:
        return json.dumps({**told, "error": str(error)}, ensure_ascii=False)
    return None if event is None else json.dumps({**told, **event}, ensure_ascii=False)


def as_text(record: "ConsumerRecord[bytes, bytes]") -> str | None:
    """A headline and a line each for key, before, after and source; None for a log-compaction tombstone."""
    place = f"{record.topic}-{record.partition}@{record.offset}"
    if reason := _dead_letter_reason(record):
        place += f"  dead letter: {reason}"
    try:
        told = _told(record)
    except InvalidEvent as error:
        return f"{place}  not a change event: {error}\n"
    if told is None:
        return None
    lines = [f"{_moment(told['ts_ms'])}  {_OPERATIONS[told['op']]}  {place}"]
    lines += [
        f"  {name:7} {json.dumps(told[name], ensure_ascii=False)}" for name in ("key", "before", "after", "source")
    ]
    return "\n".join(lines) + "\n"


def _dead_letter_reason(record: "ConsumerRecord[bytes, bytes]") -> str | None:
    """Where it came from and what was wrong with it, if it is a dead letter."""
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    if DEAD_LETTER_MESSAGE not in headers:
        return None
    place = "-".join(headers.get(f"__connect.errors.{part}", "?") for part in ("topic", "partition"))
    return f"{place}@{headers.get('__connect.errors.offset', '?')}: {headers[DEAD_LETTER_MESSAGE]}"


def _moment(ts_ms: int | None) -> str:
    """Milliseconds since the epoch as RFC 3339, as far as the calendar goes."""
    try:
        return "" if ts_ms is None else rfc3339(datetime.fromtimestamp(ts_ms / 1000, UTC))
    except (ValueError, OverflowError):
        return str(ts_ms)


def _told(record: "ConsumerRecord[bytes, bytes]") -> dict[str, Any] | None:
    """What an event says; None for a log-compaction tombstone. Raises `InvalidEvent`."""
    event = decode(record.key, record.value)
    if event is None:
        return None
    source = event.source
    return {
        "op": event.operation,
        "ts_ms": event.ts_ms,
        "key": convert(event.key, "json"),
        "before": convert(event.before, "json"),
        "after": convert(event.after, "json"),
        "source": {name: value for name in source.__struct_fields__ if (value := getattr(source, name)) is not None},
    }
