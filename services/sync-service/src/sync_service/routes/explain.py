"""Explains how a route maps one event. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from sync_service.debezium.envelope import OPERATION_LABELS, OPERATIONS, ChangeEvent, decode
from sync_service.debezium.errors import InvalidEvent
from sync_service.debezium.source import Row
from sync_service.routes.config import DELETED_AT, Route
from sync_service.routes.json_values import jsonable
from sync_service.routes.mapping import map_fields, map_key
from sync_service.sinks.sources import SOURCES, AnySource


class NotAnEvent(Exception):  # noqa: N818 - the input is wrong
    """The input is not an event. The message is one sentence."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Lines of a name and a text. `is_applicable`: the event would be applied, or rightly ignored."""

    lines: Sequence[tuple[str, str]]
    is_applicable: bool

    def __str__(self) -> str:
        return "\n".join(f"{name:<12}{line}" for name, line in self.lines)


def explain_event(written: str, routes: Iterable[Route]) -> Explanation:
    """`written` is one event: `{"key": …, "value": …}`, a value alone, or a line of `inspect --json`.

    Raises `NotAnEvent`.
    """
    try:
        parsed = msgspec.json.decode(written)
    except (msgspec.DecodeError, RecursionError) as error:
        raise NotAnEvent(f"not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise NotAnEvent("an event is a JSON object")
    if "error" in parsed and "op" not in parsed:
        return Explanation([("dead letter", str(parsed["error"]))], is_applicable=False)
    try:
        event, topic = _event(parsed)
    except InvalidEvent as error:
        return Explanation([("dead letter", f"{type(error).__name__}: {error}")], is_applicable=False)
    if event is None:
        return Explanation([("ignored", "a tombstone for log compaction, which says nothing new")], is_applicable=True)
    route = next((route for route in routes if route.topic == topic), None)
    if route is None:
        return Explanation([("no route", f"no route reads topic {topic}")], is_applicable=False)
    return _explained(event, route)


def _event(parsed: dict[str, Any]) -> tuple[ChangeEvent | None, str]:
    """The event and its topic. Raises `InvalidEvent`, `NotAnEvent`."""
    if "op" in parsed and "key" in parsed:
        return _inspected(parsed)
    value, key = (parsed["value"], parsed.get("key")) if "value" in parsed else (parsed, None)
    if value is None:
        return None, ""
    if isinstance(value, str):
        value = _object(value, "value")
    if not isinstance(value, dict):
        raise NotAnEvent("its value is no JSON object")
    source = value.get("source")
    if not isinstance(source, dict):
        raise NotAnEvent("there is no source in it, so it is no change event of Debezium's")
    if key is None:
        key = _key_of_row(value, source)
    key_bytes = key.encode() if isinstance(key, str) else msgspec.json.encode(key)
    event = decode(key_bytes, msgspec.json.encode(value))
    topic = parsed.get("topic")
    return event, topic if isinstance(topic, str) else _topic(source)


def _inspected(parsed: dict[str, Any]) -> tuple[ChangeEvent, str]:
    """In a line of `inspect --json` key and rows are decoded already."""
    try:
        event = ChangeEvent(
            operation=msgspec.convert(parsed["op"], type=str),
            key=msgspec.convert(parsed["key"], type=Row),
            after=msgspec.convert(parsed.get("after"), type=Row | None),
            source=msgspec.convert(parsed.get("source"), type=AnySource),
            ts_ms=msgspec.convert(parsed.get("ts_ms"), type=int | None),
            unread_before=msgspec.Raw(b"null"),
        )
    except msgspec.ValidationError as error:
        raise NotAnEvent(f"not a line of inspect --json: {error}") from error
    if event.operation not in OPERATIONS:
        raise NotAnEvent(f"op {event.operation!r} does not change a single row")
    return event, str(parsed.get("topic") or _topic(parsed["source"]))


def _key_of_row(value: Mapping[str, Any], source: Mapping[str, Any]) -> Any:
    """The key of a value without one, from the row."""
    row = value.get("after") or value.get("before")
    if row is None:
        raise NotAnEvent('neither a key nor a row is in it; give it as {"key": …, "value": …}')
    kind = SOURCES.get(str(source.get("connector")))
    return row if kind is None else kind.key_of_row(row)


def _object(text: str, what: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidEvent(f"{what}: not JSON: {error}") from error


def _topic(source: Mapping[str, Any]) -> str:
    """The topic as Debezium names it."""
    parts = (source.get("name"), source.get("db"), source.get("table") or source.get("collection"))
    return ".".join(str(part) for part in parts if part is not None)


def _explained(event: ChangeEvent, route: Route) -> Explanation:
    target = route.target
    lines = [
        ("route", f"{route.name}: {route.topic} → {target.store} {target.place}"),
        ("operation", OPERATION_LABELS[OPERATIONS[event.operation]]),
    ]
    if event.after is None and event.operation != "d":
        ignored = "the document was gone when the connector looked it up; its delete follows"
        return Explanation([*lines, ("ignored", ignored)], is_applicable=True)
    try:
        names = ["_id"] if route.is_keyed_by_document else list(route.key)
        lines.append(("key", _json(dict(zip(names, map_key(route, event.key), strict=True)))))
        values = None if event.operation == "d" or event.after is None else map_fields(route, event.after)
        if values is None or event.after is None:
            if event.operation != "d":
                lines.append(("where", f"not true: {route.where.text if route.where else ''}"))
            kept = f"its last values stay, with {DELETED_AT}" if route.keeps_rows else "none: a tombstone is left"
            lines.append(("row", kept))
        else:
            lines.append(("row", _json(dict(values))))
            lines += _not_copied(event.after, route)
        lines += _place(event)
    except InvalidEvent as error:
        return Explanation([*lines, ("dead letter", f"{type(error).__name__}: {error}")], is_applicable=False)
    return Explanation(lines, is_applicable=True)


def _place(event: ChangeEvent) -> list[tuple[str, str]]:
    if event.position is None:
        return [("position", "none: a snapshot read has none")]
    return [("position", event.position.text), ("epoch", event.position.generation)]


def _not_copied(row: Row, route: Route) -> list[tuple[str, str]]:
    """The fields of the row that are not copied, separate from those that are dropped on purpose or only used."""
    copied = {path[0] for path in route.source_paths.values()}
    dropped = {path[0] for path in route.dropped}
    inputs = {path[0] for path in route.read_paths.values()}
    rest = [name for name in row if name not in copied]
    groups = (
        ("inputs", [name for name in rest if name in inputs and name not in dropped]),
        ("dropped", [name for name in rest if name in dropped]),
        ("not copied", [name for name in rest if name not in dropped | inputs]),
    )
    return [(what, ", ".join(names)) for what, names in groups if names]


def _json(row: Row) -> str:
    return json.dumps(jsonable(row), ensure_ascii=False)
