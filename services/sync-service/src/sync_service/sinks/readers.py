"""How a comparison reads both sides of a route: protocols, and what the readers of all stores share."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sync_service.apply.changes import Key
from sync_service.debezium.errors import InvalidEvent
from sync_service.routes.config import Route
from sync_service.routes.mapping import map_fields, map_key
from sync_service.sinks.canonical import Checksum
from sync_service.sinks.rows import Bound, CopyRow, KeyRange, RowRequest, SourceRow

# A range ends at the first of this many keys that is of the type the route declares.
TRIED_AS_BOUND = 50
# The number of documents that MongoDB returns in one batch.
BATCH = 2000


class SourceReader(Protocol):
    async def estimate(self) -> int:
        """The estimated number of rows."""

    async def next_bound(self, lower: Bound | None, rows: int, upper: Bound | None = None) -> Bound | None:
        """The end of a range of this many rows from `lower` on; None if there are fewer before `upper` (None: open)."""

    def stored_bound(self, bound: Bound) -> bytes:
        """The bound in a form that `bound_of` reads back exactly."""

    def bound_of(self, stored: bytes) -> Bound | None:
        """None if it is no bound of this source any more."""

    async def checksum(self, key_range: KeyRange) -> Checksum:
        """The checksum of all mapped rows of the range. Only for rows that are exact in SQL."""

    async def rows(self, key_range: KeyRange) -> Sequence[SourceRow]:
        """Those that meet the condition of the comparison, if it has one. It has no effect on the other methods."""

    async def look_up(self, requests: Sequence[RowRequest]) -> Mapping[Key, Sequence[SourceRow]]:
        """All rows by the keys of the copy, where there are any. All methods raise `CannotCompare`."""


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


def source_row(
    route: Route,
    row: dict[str, Any],
    native: Any,
    source_id: str = "",
    fields: Callable[[dict[str, Any]], Mapping[str, Any] | None] | None = None,
) -> SourceRow | None:
    """Map a row, whose values are those of an event; None if it does not belong into the copy.

    `fields` maps all but the key, if not as every route does.
    """
    try:
        key = map_key(route, row)
    except InvalidEvent as error:
        shown = tuple(map(str, native)) if isinstance(native, tuple) else (str(native),)
        return SourceRow(shown, None, str(error), has_no_key=True, native=native)
    try:
        values = map_fields(route, row) if fields is None else fields(row)
    except InvalidEvent as error:
        return SourceRow(key, None, str(error), native=native, source_id=source_id)
    return None if values is None else SourceRow(key, values, native=native, source_id=source_id)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Keys of the source that may have a key of the copy. `are_all`: no others can have it."""

    natives: Sequence[Any]
    are_all: bool


async def found_rows(
    requests: Sequence[RowRequest],
    candidates: Callable[[Key], Candidates],
    read: Callable[[list[Any]], Awaitable[Iterable[SourceRow]]],
    keys: Callable[[], AsyncIterator[tuple[Any, Key | None]]],
) -> Mapping[Key, Sequence[SourceRow]]:
    """The source rows of these requests, by their keys of the copy.

    `read` returns the rows of natives, `keys` all natives of the source with their keys of the copy. All of them are
    mapped if a row is not found otherwise, because a repair would delete the copy of a row that seems to be deleted.
    """
    found: dict[Key, dict[str, SourceRow]] = {request.key: {} for request in requests}

    async def look(natives: list[Any]) -> None:
        if natives:
            for row in await read(natives):
                if not row.has_no_key and row.key in found:
                    found[row.key][repr(row.native)] = row

    guessed = {request.key: candidates(request.key) for request in requests}
    await look([native for request in requests for native in (*request.natives, *guessed[request.key].natives)])
    unanswered = {
        request.key
        for request in requests
        if not guessed[request.key].are_all and not request.is_answered(list(found[request.key].values()))
    }
    if unanswered:
        await look([native async for native, key in keys() if key in unanswered])
    return {key: list(rows.values()) for key, rows in found.items() if rows}
