"""What a record says, for people and programs, and who wants to hear of which. Pure."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from aiokafka import ConsumerRecord

from sync_service.dead_letters.models import Letter, Resolution, read
from sync_service.debezium.envelope import Operation, decode
from sync_service.debezium.errors import InvalidEvent
from sync_service.routes.converters import convert

OperationName = Literal["create", "update", "delete", "read"]
OPERATIONS: Mapping[Operation, OperationName] = {"c": "create", "u": "update", "d": "delete", "r": "read"}


@dataclass(frozen=True, slots=True)
class Told:
    """`facts` are JSON: where the record is, and what it says, or what is wrong with it (`error`).

    Of an event: `op`, `ts_ms` (milliseconds since the epoch), `key`, `before`, `after` and `source`.
    """

    topic: str
    facts: Mapping[str, Any]

    @property
    def operation(self) -> OperationName | None:
        """None: it is no change event."""
        return OPERATIONS[self.facts["op"]] if "op" in self.facts else None

    @property
    def is_without_before(self) -> bool:
        """Does its source not tell what was there before?"""
        is_of_mongodb = self.facts.get("source", {}).get("connector") == "mongodb"
        return is_of_mongodb and self.facts["before"] is None and self.operation in ("update", "delete")

    def as_json(self) -> str:
        """One line."""
        return json.dumps(self.facts, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events somebody wants: all that is given must match.

    `key` is the value of a field of the key, as text, or the whole key as JSON.
    """

    topics: Collection[str] | None = None
    operation: OperationName | None = None
    key: str | None = None

    def includes(self, told: Told) -> bool:
        return (
            (self.topics is None or told.topic in self.topics)
            and (self.operation is None or told.operation == self.operation)
            and (self.key is None or self.key in _names_of(told.facts.get("key")))
        )


def tell(record: "ConsumerRecord[bytes, bytes]", routes: Mapping[str, str]) -> Told | None:
    """`routes` are names by topic. None: a log-compaction tombstone, which says nothing."""
    facts: dict[str, Any] = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    if record.topic in routes:
        facts["route"] = routes[record.topic]
    match read(record):
        case Resolution() as resolution:
            resolved = {"letter": str(resolution.letter), "result": resolution.result, "by": resolution.by}
            return Told(record.topic, {**facts, "resolution": resolved})
        case Letter() as letter:
            origin = letter.origin
            facts["dead_letter"] = f"{origin.topic}-{origin.partition}@{origin.offset}: {letter.reason}"
    try:
        if (event := decode(record.key, record.value)) is None:
            return None
        said = {
            "op": event.operation,
            "ts_ms": event.ts_ms,
            "key": convert(event.key, "json"),
            # Rows are decoded when they are asked for, and may be none.
            "before": convert(event.before, "json"),
            "after": convert(event.after, "json"),
        }
    except InvalidEvent as error:
        return Told(record.topic, {**facts, "error": str(error)})
    source = event.source
    place = {name: each for name in source.__struct_fields__ if (each := getattr(source, name)) is not None}
    return Told(record.topic, {**facts, **said, "source": place})


def operation_name(text: str) -> OperationName | None:
    """`u` is short for `update`. None: there is no such operation."""
    if text in OPERATIONS.values():
        return cast("OperationName", text)
    return OPERATIONS.get(cast("Operation", text))


def _names_of(key: Any) -> Collection[str]:
    if not isinstance(key, dict):
        return ()
    return {
        json.dumps(key, ensure_ascii=False),
        *(each if isinstance(each, str) else json.dumps(each) for each in key.values()),
    }
