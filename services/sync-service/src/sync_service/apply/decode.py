"""Decodes a record into a change of a route's copy. Pure, but for what it reports of new fields."""

from sync_service.apply.changes import Change
from sync_service.apply.new_fields import NewFields
from sync_service.apply.ordering import Version, offset
from sync_service.debezium.envelope import SNAPSHOT_READ, decode
from sync_service.routes.config import Route
from sync_service.routes.mapping import map_event_key, map_fields


def decode_change(
    route: Route,
    key: bytes | None,
    value: bytes | None,
    *,
    topic_partition: str,
    number: int,
    new_fields: NewFields | None = None,
) -> Change | None:
    """The change that a record makes to the copy; None if it makes none. `number` is the record's offset.

    A tombstone of log compaction makes no change. Nor does an event without `after` that is no delete: the connector
    looks the document up when it reads the event, the document was deleted by then, and its delete follows.
    A row that does not match the route's `where` is not in the copy, so its event is a delete of this version.
    Raises `InvalidEvent`.
    """
    event = decode(key, value)
    if event is None or (event.after is None and event.operation != "d"):
        return None
    source, operation = event.source, event.operation
    if new_fields is not None and event.after is not None:
        new_fields.see(event.after)
    return Change(
        key=map_event_key(route, event.key),
        values=None if operation == "d" or event.after is None else map_fields(route, event.after),
        version=Version(
            topic_partition=topic_partition,
            offset=offset(number),
            position=event.position,
            operation=operation,
        ),
        committed_ms=None if operation == SNAPSHOT_READ else source.ts_ms,
        source_id=source.identify(event.key),
    )
