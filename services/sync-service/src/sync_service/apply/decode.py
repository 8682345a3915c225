"""From a record to a change of a route's copy. Pure."""

from sync_service.apply.changes import Change
from sync_service.apply.ordering import SNAPSHOT_READ, Version, offset
from sync_service.debezium.envelope import decode
from sync_service.routes.config import Route
from sync_service.routes.mapping import map_fields, map_key


def decode_change(
    route: Route, key: bytes | None, value: bytes | None, *, topic_partition: str, number: int
) -> Change | None:
    """What a record at this offset (`number`) of the stream does to the copy; None: nothing.

    Nothing is to be done for a log-compaction tombstone, and for a document that is gone by now. (The connector looks
    the document up when it reads the event; if it was deleted meanwhile there is no `after`, and its delete follows.)
    Raises `InvalidEvent`.
    """
    event = decode(key, value)
    if event is None or (event.after is None and event.operation != "d"):
        return None
    source, operation = event.source, event.operation
    return Change(
        key=map_key(route, event.key),
        values=None if operation == "d" or event.after is None else map_fields(route, event.after),
        version=Version(
            topic_partition=topic_partition,
            offset=offset(number),
            log_generation=source.log_generation,
            position=source.position,
            operation=operation,
        ),
        committed_ms=None if operation == SNAPSHOT_READ else source.ts_ms,
    )
