"""How a comparison reads both sides of a route: protocols, and what the readers of all stores share."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sync_service.apply.changes import Key
from sync_service.debezium.errors import InvalidEvent
from sync_service.routes.config import Route
from sync_service.routes.mapping import map_fields, map_key
from sync_service.sinks.canonical import Checksum
from sync_service.sinks.rows import Bound, CopyRow, KeyRange, SourceRow

# A range ends at the first of this many keys that is of the type the route declares.
TRIED_AS_BOUND = 50
# The number of documents that MongoDB returns in one batch.
BATCH = 2000


class SourceReader(Protocol):
    async def estimate(self) -> int:
        """The estimated number of rows."""

    async def next_bound(self, lower: Bound | None, rows: int) -> Bound | None:
        """The end of a range of this many rows from `lower` on; None if there are fewer."""

    async def checksum(self, key_range: KeyRange) -> Checksum:
        """The checksum of all mapped rows of the range. Only for rows that are exact in SQL."""

    async def rows(self, key_range: KeyRange) -> Sequence[SourceRow]: ...

    async def look_up(self, keys: Iterable[Key]) -> Mapping[Key, SourceRow]:
        """Rows by the keys of the copy. All methods raise `CannotCompare`."""


class CopyReader(Protocol):
    async def checksum(self, key_range: KeyRange) -> Checksum:
        """The checksum of the live rows of the range."""

    def pages(self, key_range: KeyRange) -> AsyncIterator[Sequence[CopyRow]]:
        """The live rows in pages: a range of a copy may have any number of rows."""

    async def look_up(self, keys: Iterable[Key]) -> Mapping[Key, CopyRow]:
        """Rows by their keys, tombstones included. All methods raise `CannotCompare`."""


def key_of(route: Route, row: Mapping[str, Any]) -> Key | None:
    """None if the key does not fit."""
    try:
        return map_key(route, dict(row))
    except InvalidEvent:
        return None


def source_row(route: Route, row: dict[str, Any], native_key: Key) -> SourceRow:
    try:
        key = map_key(route, row)
    except InvalidEvent as error:
        return SourceRow(tuple(map(str, native_key)), None, str(error), has_no_key=True)
    try:
        return SourceRow(key, map_fields(route, row))
    except InvalidEvent as error:
        return SourceRow(key, None, str(error))
