"""Reads the documents of a source collection, as the route maps them."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import permutations, product
from typing import Any
from uuid import UUID

from bson import Binary, ObjectId
from bson.binary import UuidRepresentation
from bson.errors import InvalidId

from sync_service.apply.changes import Key
from sync_service.debezium.errors import InvalidEvent
from sync_service.routes.config import Route
from sync_service.routes.mapping import map_fields, map_key
from sync_service.sinks.canonical import CanonicalRow, Checksum, ChecksumBuilder
from sync_service.sinks.mongodb.documents import Document, Documents
from sync_service.sinks.readers import BATCH, TRIED_AS_BOUND, key_of, source_row
from sync_service.sinks.rows import Bound, KeyRange, SourceRow

# An `_id` with at most this many fields is looked up in every order of its fields.
_PERMUTED = 3


class MongoSourceReader:
    def __init__(self, documents: Documents, route: Route, canonical: CanonicalRow) -> None:
        self._documents = documents
        self._route = route
        self._canonical = canonical
        self._key_paths = [field.source_path(name) for name, field in route.key.items()]

    async def estimate(self) -> int:
        return await self._documents.estimate()

    async def next_bound(self, lower: Bound | None, rows: int) -> Bound | None:
        while ids := await self._documents.ids_from(lower.native if lower else None, rows, TRIED_AS_BOUND):
            for identifier in ids:
                key = key_of(self._route, {"_id": identifier})
                if key is not None:
                    return Bound(identifier, key)
            rows += TRIED_AS_BOUND
        return None

    async def checksum(self, key_range: KeyRange) -> Checksum:
        builder, text, route = ChecksumBuilder(), self._canonical.text, self._route
        lower, upper = key_range.natives
        async for batch in self._documents.batches(lower, upper, BATCH):
            for document in batch:
                try:
                    builder.add(text(map_key(route, document), map_fields(route, document)))
                except InvalidEvent:
                    # No row of the copy has such a text, so the rows of the range are compared one by one.
                    builder.add(f"!{document['_id']!r}")
        return builder.checksum

    async def rows(self, key_range: KeyRange) -> Sequence[SourceRow]:
        lower, upper = key_range.natives
        batches = self._documents.batches(lower, upper, BATCH)
        return [self._row(document) async for batch in batches for document in batch]

    async def look_up(self, keys: Iterable[Key]) -> Mapping[Key, SourceRow]:
        requested = set(keys)
        candidates = [identifier for key in requested for identifier in self._candidates(key)]
        rows = (self._row(document) for document in await self._documents.look_up(candidates))
        return {row.key: row for row in rows if not row.has_no_key and row.key in requested}

    def _row(self, document: Document) -> SourceRow:
        return source_row(self._route, document, (document["_id"],))

    def _candidates(self, key: Key) -> Iterable[Any]:
        """The ids that a document with this key of the copy may have: a text may be that of an ObjectId or a UUID.

        The route does not declare the order of the fields of an `_id` with several fields.
        """
        parts = [_id_candidates(value) for value in key]
        if self._key_paths == [("_id",)]:
            return parts[0]
        orders = permutations(range(len(parts))) if len(parts) <= _PERMUTED else [tuple(range(len(parts)))]
        return [
            _nested([(self._key_paths[place][1:], values[place]) for place in order])
            for order in orders
            for values in product(*parts)
        ]


def _id_candidates(value: Any) -> list[Any]:
    if not isinstance(value, str):
        return [value]
    candidates: list[Any] = [value]
    with suppress(InvalidId):
        candidates.append(ObjectId(value))
    with suppress(ValueError):
        candidates.append(Binary.from_uuid(UUID(value), UuidRepresentation.STANDARD))
    return candidates


def _nested(fields: Iterable[tuple[Sequence[str], Any]]) -> Document:
    document: Document = {}
    for path, value in fields:
        inner = document
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = value
    return document
