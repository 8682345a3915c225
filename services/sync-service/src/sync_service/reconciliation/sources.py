"""The side that is right: rows as the route maps them.

The last two segments of the route's topic name it: schema and table, or database and collection.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import permutations, product
from typing import Any, Protocol
from uuid import UUID

from bson import Binary, ObjectId
from bson.binary import UuidRepresentation
from bson.errors import InvalidId

from sync_service.apply.changes import Key
from sync_service.debezium.errors import InvalidEvent
from sync_service.reconciliation.canonical import CanonicalRow, Checksum, ChecksumBuilder
from sync_service.reconciliation.documents import Document, Documents
from sync_service.reconciliation.mysql_table import MysqlTable, Values, quoted
from sync_service.reconciliation.rows import Bound, KeyRange, SourceRow
from sync_service.routes.config import CopiedField, Route
from sync_service.routes.mapping import map_fields, map_key

# Of so many keys, one is hoped to be of the type that the route declares, so that a range can end at it.
_TRIED_AS_BOUND = 50
# As many documents as MongoDB hands out at once.
BATCH = 2000
# An `_id` of so many fields may have them in any order.
_PERMUTED = 3


class SourceReader(Protocol):
    async def estimate(self) -> int:
        """About how many rows there are."""

    async def next_bound(self, lower: Bound | None, rows: int) -> Bound | None:
        """Where a range ends that begins at `lower` and has so many rows; None if there are fewer behind it."""

    async def checksum(self, key_range: KeyRange) -> Checksum:
        """Of all rows of the range, as the copy should have them. (Only if the row is exact in SQL.)"""

    async def rows(self, key_range: KeyRange) -> Sequence[SourceRow]: ...

    async def look_up(self, keys: Iterable[Key]) -> Mapping[Key, SourceRow]:
        """By the keys that the copy has or should have. All of these raise `CannotCompare`."""


class MysqlSourceReader:
    def __init__(self, table: MysqlTable, route: Route, canonical: CanonicalRow) -> None:
        self._table = table
        self._route = route
        self._canonical = canonical
        self._key = [_path(name, field)[0] for name, field in route.key.items()]
        named = {name: field for name, field in route.fields.items() if not field.is_constant}
        self._columns = list(dict.fromkeys([*self._key, *(_path(name, field)[0] for name, field in named.items())]))

    async def estimate(self) -> int:
        return await self._table.estimate()

    async def next_bound(self, lower: Bound | None, rows: int) -> Bound | None:
        while keys := await self._table.keys_from(lower.native if lower else None, rows, _TRIED_AS_BOUND):
            for values in keys:
                key = _key_of(self._route, dict(zip(self._key, values, strict=True)))
                if key is not None:
                    return Bound(tuple(values), key)
            rows += _TRIED_AS_BOUND
        return None

    async def checksum(self, key_range: KeyRange) -> Checksum:
        declared = {**self._route.key, **self._route.fields}
        texts = [
            field.sql(quoted(_path(field.name, declared[field.name])[0]), of_source=True)
            for field in (*self._canonical.key, *self._canonical.fields)
        ]
        return await self._table.checksum(texts, *key_range.natives)

    async def rows(self, key_range: KeyRange) -> Sequence[SourceRow]:
        lower, upper = key_range.natives
        return [self._row(values) for values in await self._table.rows(self._columns, lower, upper)]

    async def look_up(self, keys: Iterable[Key]) -> Mapping[Key, SourceRow]:
        wanted = set(keys)
        spelled = [values for key in wanted for values in self._spellings(key)]
        rows = (self._row(values) for values in await self._table.look_up(self._columns, spelled))
        return {row.key: row for row in rows if not row.has_no_key and row.key in wanted}

    def _row(self, values: Values) -> SourceRow:
        row = dict(zip(self._columns, values, strict=True))
        return _source_row(self._route, row, tuple(row[column] for column in self._key))

    def _spellings(self, key: Key) -> Iterable[Values]:
        """A key of the copy as the table may have it."""
        parts = tuple(key[0].values()) if self._route.is_keyed_by_document else key
        return product(
            *(
                [part, UUID(part).bytes] if field.type == "uuid" else [part]
                for part, field in zip(parts, self._route.key.values(), strict=True)
            )
        )


class MongoSourceReader:
    def __init__(self, documents: Documents, route: Route, canonical: CanonicalRow) -> None:
        self._documents = documents
        self._route = route
        self._canonical = canonical
        self._key_paths = [_path(name, field) for name, field in route.key.items()]

    async def estimate(self) -> int:
        return await self._documents.estimate()

    async def next_bound(self, lower: Bound | None, rows: int) -> Bound | None:
        while ids := await self._documents.ids_from(lower.native if lower else None, rows, _TRIED_AS_BOUND):
            for identifier in ids:
                key = _key_of(self._route, {"_id": identifier})
                if key is not None:
                    return Bound(identifier, key)
            rows += _TRIED_AS_BOUND
        return None

    async def checksum(self, key_range: KeyRange) -> Checksum:
        builder, text, route = ChecksumBuilder(), self._canonical.text, self._route
        lower, upper = key_range.natives
        async for batch in self._documents.batches(lower, upper, BATCH):
            for document in batch:
                try:
                    builder.add(text(map_key(route, document), map_fields(route, document)))
                except InvalidEvent:
                    # No row of the copy has a text like that, so the rows are looked at one by one.
                    builder.add(f"!{document['_id']!r}")
        return builder.checksum

    async def rows(self, key_range: KeyRange) -> Sequence[SourceRow]:
        lower, upper = key_range.natives
        batches = self._documents.batches(lower, upper, BATCH)
        return [self._row(document) async for batch in batches for document in batch]

    async def look_up(self, keys: Iterable[Key]) -> Mapping[Key, SourceRow]:
        wanted = set(keys)
        spelled = [identifier for key in wanted for identifier in self._spellings(key)]
        rows = (self._row(document) for document in await self._documents.look_up(spelled))
        return {row.key: row for row in rows if not row.has_no_key and row.key in wanted}

    def _row(self, document: Document) -> SourceRow:
        return _source_row(self._route, document, (document["_id"],))

    def _spellings(self, key: Key) -> Iterable[Any]:
        """A key of the copy as the collection may have it: a text may be that of an ObjectId or of a UUID.

        An `_id` of several fields has them in an order that the route does not tell.
        """
        parts = [_spelled(value) for value in key]
        if self._key_paths == [("_id",)]:
            return parts[0]
        orders = permutations(range(len(parts))) if len(parts) <= _PERMUTED else [tuple(range(len(parts)))]
        return [
            _nested([(self._key_paths[place][1:], values[place]) for place in order])
            for order in orders
            for values in product(*parts)
        ]


def _path(name: str, field: CopiedField) -> tuple[str, ...]:
    return field.path or (name,)


def _key_of(route: Route, row: Mapping[str, Any]) -> Key | None:
    """None if it does not fit."""
    try:
        return map_key(route, dict(row))
    except InvalidEvent:
        return None


def _source_row(route: Route, row: dict[str, Any], native_key: Key) -> SourceRow:
    try:
        key = map_key(route, row)
    except InvalidEvent as error:
        return SourceRow(tuple(map(str, native_key)), None, str(error), has_no_key=True)
    try:
        return SourceRow(key, map_fields(route, row))
    except InvalidEvent as error:
        return SourceRow(key, None, str(error))


def _spelled(value: Any) -> list[Any]:
    if not isinstance(value, str):
        return [value]
    spellings: list[Any] = [value]
    with suppress(InvalidId):
        spellings.append(ObjectId(value))
    with suppress(ValueError):
        spellings.append(Binary.from_uuid(UUID(value), UuidRepresentation.STANDARD))
    return spellings


def _nested(fields: Iterable[tuple[Sequence[str], Any]]) -> Document:
    document: Document = {}
    for path, value in fields:
        inner = document
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = value
    return document
