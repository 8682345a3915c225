"""Reads the rows of a source table, as the route maps them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from sync_service.apply.changes import Key
from sync_service.routes.config import Route
from sync_service.routes.converters import FieldType
from sync_service.sinks.canonical import CanonicalRow, Checksum, Column
from sync_service.sinks.mysql.event_values import as_event
from sync_service.sinks.mysql.stored_values import stored_values, values_of
from sync_service.sinks.mysql.table import MysqlTable, Values, quoted
from sync_service.sinks.readers import TRIED_AS_BOUND, Candidates, found_rows, key_of, source_row
from sync_service.sinks.rows import Bound, KeyRange, RowRequest, SourceRow

# The number of keys that are read in one statement if all of them are.
_KEYS_AT_ONCE = 50_000
# The types of a key whose value is that of the column, by the types of the column. (By its collation, MySQL may return
# more rows.)
_SAME: Mapping[FieldType, frozenset[str]] = {
    "string": frozenset({"char", "varchar"}),
    "integer": frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"}),
    "decimal": frozenset({"decimal"}),
    "boolean": frozenset({"tinyint"}),
    "datetime": frozenset({"datetime", "timestamp"}),
    "date": frozenset({"date"}),
    "binary": frozenset({"binary", "varbinary"}),
    "bits": frozenset({"bit"}),
}
_NO_CANDIDATES = Candidates((), are_all=False)


class MysqlSourceReader:
    """`columns` are those of the table, by their names. `selected` is the table with the condition of its `rows`."""

    def __init__(
        self,
        table: MysqlTable,
        route: Route,
        canonical: CanonicalRow,
        columns: Mapping[str, Column],
        selected: MysqlTable | None = None,
    ) -> None:
        self._table = table
        self._selected = selected or table
        self._route = route
        self._canonical = canonical
        self._key = [path[0] for path in route.key_paths.values()]
        self._columns = list(dict.fromkeys(path[0] for path in route.read_paths.values()))
        self._as_event = event_conversions(route, self._columns, columns)
        self._has_same_key = all(
            columns[path[0]].data_type in _SAME.get(route.key[name].type, ()) for name, path in route.key_paths.items()
        )

    async def estimate(self) -> int:
        return await self._table.estimate()

    async def next_bound(self, lower: Bound | None, rows: int, upper: Bound | None = None) -> Bound | None:
        lowest, end = (bound.native if bound else None for bound in (lower, upper))
        while keys := await self._table.keys_from(lowest, rows, TRIED_AS_BOUND, end):
            for values in keys:
                key = key_of(self._route, self._event(self._key, values))
                if key is not None:
                    return Bound(tuple(values), key)
            rows += TRIED_AS_BOUND
        return None

    def stored_bound(self, bound: Bound) -> bytes:
        return stored_values(bound.native)

    def bound_of(self, stored: bytes) -> Bound | None:
        values = values_of(stored)
        if values is None or len(values) != len(self._key):
            return None
        key = key_of(self._route, self._event(self._key, values))
        return None if key is None else Bound(tuple(values), key)

    async def checksum(self, key_range: KeyRange) -> Checksum:
        declared = {**self._route.key, **self._route.fields}
        texts = [
            field.sql(quoted(declared[field.name].source_path(field.name)[0]), of_source=True)
            for field in (*self._canonical.key, *self._canonical.fields)
        ]
        return await self._table.checksum(texts, *key_range.natives)

    async def rows(self, key_range: KeyRange) -> Sequence[SourceRow]:
        lower, upper = key_range.natives
        rows = [self._row(values) for values in await self._selected.rows(self._columns, lower, upper)]
        return [row for row in rows if row is not None]

    async def look_up(self, requests: Sequence[RowRequest]) -> Mapping[Key, Sequence[SourceRow]]:
        async def read(natives: list[Any]) -> list[SourceRow]:
            rows = [self._row(values) for values in await self._table.look_up(self._columns, natives)]
            return [row for row in rows if row is not None]

        return await found_rows(requests, self._candidates, read, self._keys)

    def _row(self, values: Values) -> SourceRow | None:
        native = dict(zip(self._columns, values, strict=True))
        return source_row(
            self._route, self._event(self._columns, values), tuple(native[column] for column in self._key)
        )

    def _event(self, columns: Sequence[str], values: Values) -> dict[str, Any]:
        """The row as an event has it."""
        row = dict(zip(columns, values, strict=True))
        for column, convert in self._as_event.items():
            if row.get(column) is not None:
                row[column] = convert(row[column])
        return row

    def _candidates(self, key: Key) -> Candidates:
        if not self._has_same_key:
            return _NO_CANDIDATES
        return Candidates((tuple(self._route.key_from_source(key)),), are_all=True)

    async def _keys(self) -> AsyncIterator[tuple[Any, Key | None]]:
        last: Values | None = None
        while page := await self._table.keys_from(last, 0, _KEYS_AT_ONCE):
            # The first key is the last one of the previous page, unless it has been deleted.
            fresh = [tuple(values) for values in page if tuple(values) != last]
            if not fresh:
                return
            for values in fresh:
                yield values, key_of(self._route, self._event(self._key, values))
            last = fresh[-1]


def event_conversions(
    route: Route, names: Sequence[str], columns: Mapping[str, Column]
) -> Mapping[str, Callable[[Any], Any]]:
    """By column of `names`: its conversion to the value of an event, if it needs one."""
    types: dict[str, set[FieldType]] = {name: set() for name in names}
    declared = {**route.key, **route.fields, **route.inputs}
    for name, path in route.read_paths.items():
        if path[0] in types:
            types[path[0]].add(declared[name].type)
    found = {name: as_event(columns[name], frozenset(types[name])) for name in names}
    return {name: convert for name, convert in found.items() if convert is not None}
