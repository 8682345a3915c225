"""Renders records as JSON, and filters them. Pure."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from aiokafka import ConsumerRecord

from sync_service.dead_letters.models import DeadLetter, Resolution, read
from sync_service.debezium.envelope import OPERATIONS, Operation, OperationName, decode
from sync_service.debezium.errors import InvalidEvent
from sync_service.routes.converters import convert
from sync_service.routes.personal import PersonalFields
from sync_service.sinks.sources import SOURCES


@dataclass(frozen=True, slots=True)
class EventView:
    """`fields` are JSON: topic, partition and offset, and the content of the record, or its `error`.

    The content of an event is `op`, `ts_ms` (milliseconds since the Unix epoch), `key`, `before`, `after` and `source`.
    """

    topic: str
    fields: Mapping[str, Any]

    @property
    def operation(self) -> OperationName | None:
        """None if the record is no change event."""
        return OPERATIONS[self.fields["op"]] if "op" in self.fields else None

    @property
    def is_without_before(self) -> bool:
        """Does its source not contain the row before the change?"""
        kind = SOURCES.get(self.fields.get("source", {}).get("connector", ""))
        is_without = kind is not None and not kind.has_before
        return is_without and self.fields["before"] is None and self.operation in ("update", "delete")

    def without(self, personal: PersonalFields) -> "EventView":
        """The event without the values of personal fields."""
        return EventView(self.topic, personal.view(self.fields))

    def as_json(self) -> str:
        """One line."""
        return json.dumps(self.fields, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """All criteria that are given must match.

    `key` is the value of one field of the key as text, or the whole key as JSON.
    """

    topics: Collection[str] | None = None
    operation: OperationName | None = None
    key: str | None = None

    def matches(self, view: EventView) -> bool:
        return (
            (self.topics is None or view.topic in self.topics)
            and (self.operation is None or view.operation == self.operation)
            and (self.key is None or self.key in _key_texts(view.fields.get("key")))
        )


def render(record: "ConsumerRecord[bytes, bytes]", routes: Mapping[str, str]) -> EventView | None:
    """`routes` are names by topic. None for a tombstone of log compaction."""
    fields: dict[str, Any] = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    if record.topic in routes:
        fields["route"] = routes[record.topic]
    match read(record):
        case Resolution() as resolution:
            resolved = {"letter": str(resolution.letter), "result": resolution.result, "by": resolution.by}
            return EventView(record.topic, {**fields, "resolution": resolved})
        case DeadLetter() as letter:
            origin = letter.origin
            fields["dead_letter"] = f"{origin.topic}-{origin.partition}@{origin.offset}: {letter.reason}"
    try:
        if (event := decode(record.key, record.value)) is None:
            return None
        change = {
            "op": event.operation,
            "ts_ms": event.ts_ms,
            "key": convert(event.key, "json"),
            # `before` is decoded here, and may be invalid.
            "before": convert(event.before, "json"),
            "after": convert(event.after, "json"),
        }
    except InvalidEvent as error:
        return EventView(record.topic, {**fields, "error": str(error)})
    source = event.source
    names = ("connector", *source.__struct_fields__)
    place = {name: each for name in names if (each := getattr(source, name)) is not None}
    return EventView(record.topic, {**fields, **change, "source": place})


def operation_name(text: str) -> OperationName | None:
    """Accepts Debezium's letters, too: `u` for `update`. None if there is no such operation."""
    if text in OPERATIONS.values():
        return cast("OperationName", text)
    return OPERATIONS.get(cast("Operation", text))


def _key_texts(key: Any) -> Collection[str]:
    if not isinstance(key, dict):
        return ()
    return {
        json.dumps(key, ensure_ascii=False),
        *(each if isinstance(each, str) else json.dumps(each) for each in key.values()),
    }
