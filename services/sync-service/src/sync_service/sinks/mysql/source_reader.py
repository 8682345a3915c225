"""Reads the rows of a source table, as the route maps them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from uuid import UUID

from sync_service.apply.changes import Key
from sync_service.routes.config import Route
from sync_service.sinks.canonical import CanonicalRow, Checksum
from sync_service.sinks.mysql.table import MysqlTable, Values, quoted
from sync_service.sinks.readers import TRIED_AS_BOUND, key_of, source_row
from sync_service.sinks.rows import Bound, KeyRange, SourceRow


class MysqlSourceReader:
    def __init__(self, table: MysqlTable, route: Route, canonical: CanonicalRow) -> None:
        self._table = table
        self._route = route
        self._canonical = canonical
        self._key = [field.source_path(name)[0] for name, field in route.key.items()]
        self._columns = list(dict.fromkeys(path[0] for path in route.source_paths.values()))

    async def estimate(self) -> int:
        return await self._table.estimate()

    async def next_bound(self, lower: Bound | None, rows: int) -> Bound | None:
        while keys := await self._table.keys_from(lower.native if lower else None, rows, TRIED_AS_BOUND):
            for values in keys:
                key = key_of(self._route, dict(zip(self._key, values, strict=True)))
                if key is not None:
                    return Bound(tuple(values), key)
            rows += TRIED_AS_BOUND
        return None

    async def checksum(self, key_range: KeyRange) -> Checksum:
        declared = {**self._route.key, **self._route.fields}
        texts = [
            field.sql(quoted(declared[field.name].source_path(field.name)[0]), of_source=True)
            for field in (*self._canonical.key, *self._canonical.fields)
        ]
        return await self._table.checksum(texts, *key_range.natives)

    async def rows(self, key_range: KeyRange) -> Sequence[SourceRow]:
        lower, upper = key_range.natives
        return [self._row(values) for values in await self._table.rows(self._columns, lower, upper)]

    async def look_up(self, keys: Iterable[Key]) -> Mapping[Key, SourceRow]:
        requested = set(keys)
        candidates = [values for key in requested for values in self._candidates(key)]
        rows = (self._row(values) for values in await self._table.look_up(self._columns, candidates))
        return {row.key: row for row in rows if not row.has_no_key and row.key in requested}

    def _row(self, values: Values) -> SourceRow:
        row = dict(zip(self._columns, values, strict=True))
        return source_row(self._route, row, tuple(row[column] for column in self._key))

    def _candidates(self, key: Key) -> Iterable[Values]:
        """The keys that a row of the table with this key of the copy may have."""
        parts = tuple(key[0].values()) if self._route.is_keyed_by_document else key
        return product(
            *(
                [part, UUID(part).bytes] if field.type == "uuid" else [part]
                for part, field in zip(parts, self._route.key.values(), strict=True)
            )
        )
