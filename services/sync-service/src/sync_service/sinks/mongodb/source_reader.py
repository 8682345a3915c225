"""Reads the documents of a source collection, as the route maps them."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import permutations, product
from typing import Any
from uuid import UUID

import bson
from bson import Binary, Decimal128, ObjectId
from bson.binary import UuidRepresentation
from bson.errors import BSONError, InvalidId

from sync_service.apply.changes import Key
from sync_service.debezium.errors import InvalidEvent, UnfitValue
from sync_service.debezium.extended_json import is_ambiguous
from sync_service.routes.config import Route
from sync_service.routes.mapping import map_fields, map_key
from sync_service.routes.row_mapping import follow
from sync_service.sinks.canonical import CanonicalRow, Checksum, ChecksumBuilder
from sync_service.sinks.mongodb.documents import Document, Documents, decoded
from sync_service.sinks.mongodb.source_id import source_id
from sync_service.sinks.readers import BATCH, TRIED_AS_BOUND, Candidates, found_rows, key_of, source_row
from sync_service.sinks.rows import Bound, KeyRange, RowRequest, SourceRow

# MongoDB finds all ids of these types by their values: numbers of every type are equal.
_ALL_CANDIDATES = frozenset({"string", "integer"})
_IDS_AT_ONCE = 50_000
# An `_id` with at most this many fields is looked up in every order of its fields.
_PERMUTED = 3


class DocumentMapping:
    """Maps documents of a source as the route does."""

    def __init__(self, route: Route) -> None:
        self._route = route
        paths = route.source_paths
        self._json_paths = {
            name: paths[name] for name, field in route.fields.items() if field.type == "json" and name in paths
        }

    def row(self, document: Document) -> SourceRow | None:
        """None for a document that does not belong into the copy."""
        identifier = document["_id"]
        return source_row(self._route, document, identifier, source_id(identifier), self.fields)

    def fields(self, document: Document) -> Mapping[str, Any] | None:
        """None for a document that does not belong into the copy. Raises `UnfitValue`."""
        values = map_fields(self._route, document)
        for name, path in () if values is None else self._json_paths.items():
            if has_ambiguous_document(follow(path, document)):
                raise UnfitValue(f"{name}: a document of its own that events can't tell from another type: see docs")
        return values


class MongoSourceReader:
    """`selected` are the documents with the condition of its `rows`."""

    def __init__(
        self, documents: Documents, route: Route, canonical: CanonicalRow, selected: Documents | None = None
    ) -> None:
        self._documents = documents
        self._selected = selected or documents
        self._route = route
        self._canonical = canonical
        self._key_paths = list(route.key_paths.values())
        self._types = [route.key[name].type for name in route.key_paths]
        self._mapping = DocumentMapping(route)

    async def estimate(self) -> int:
        return await self._documents.estimate()

    async def next_bound(self, lower: Bound | None, rows: int, upper: Bound | None = None) -> Bound | None:
        lowest, end = (bound.native if bound else None for bound in (lower, upper))
        while ids := await self._documents.ids_from(lowest, rows, TRIED_AS_BOUND, end):
            for identifier in ids:
                key = self._key_of(identifier)
                if key is not None:
                    return Bound(identifier, key)
            rows += TRIED_AS_BOUND
        return None

    def stored_bound(self, bound: Bound) -> bytes:
        return bson.encode({"_id": bound.native})

    def bound_of(self, stored: bytes) -> Bound | None:
        try:
            identifier = decoded(stored)["_id"]
        except (BSONError, KeyError):
            return None
        key = self._key_of(identifier)
        return None if key is None else Bound(identifier, key)

    async def checksum(self, key_range: KeyRange) -> Checksum:
        builder, text, route = ChecksumBuilder(), self._canonical.text, self._route
        lower, upper = key_range.natives
        async for batch in self._documents.batches(lower, upper, BATCH):
            for document in batch:
                try:
                    if (values := self._mapping.fields(document)) is not None:
                        builder.add(text(map_key(route, document), values))
                except InvalidEvent:
                    # No row of the copy has such a text, so the rows of the range are compared one by one.
                    builder.add(f"!{document['_id']!r}")
        return builder.checksum

    async def rows(self, key_range: KeyRange) -> Sequence[SourceRow]:
        lower, upper = key_range.natives
        batches = self._selected.batches(lower, upper, BATCH)
        rows = [self._mapping.row(document) async for batch in batches for document in batch]
        return [row for row in rows if row is not None]

    async def look_up(self, requests: Sequence[RowRequest]) -> Mapping[Key, Sequence[SourceRow]]:
        async def read(natives: list[Any]) -> list[SourceRow]:
            rows = [self._mapping.row(document) for document in await self._documents.look_up(natives)]
            return [row for row in rows if row is not None]

        return await found_rows(requests, self._candidates, read, self._keys)

    def _key_of(self, identifier: Any) -> Key | None:
        return key_of(self._route, {"_id": identifier})

    async def _keys(self) -> AsyncIterator[tuple[Any, Key | None]]:
        async for identifier in self._documents.ids(_IDS_AT_ONCE):
            yield identifier, self._key_of(identifier)

    def _candidates(self, key: Key) -> Candidates:
        """The ids that a document with this key of the copy may have: a text may be that of an ObjectId or a UUID.

        The route does not declare the order of the fields of an `_id` with several fields, nor all of them.
        """
        parts = [_id_candidates(value) for value in self._route.key_from_source(key)]
        if self._key_paths == [("_id",)]:
            return Candidates(parts[0], are_all=self._types[0] in _ALL_CANDIDATES)
        orders = permutations(range(len(parts))) if len(parts) <= _PERMUTED else [tuple(range(len(parts)))]
        nested = [
            _nested([(self._key_paths[place][1:], values[place]) for place in order])
            for order in orders
            for values in product(*parts)
        ]
        return Candidates(nested, are_all=False)


def _id_candidates(value: Any) -> list[Any]:
    if isinstance(value, Decimal):
        return [Decimal128(value)]
    if not isinstance(value, str):
        return [value]
    candidates: list[Any] = [value]
    with suppress(InvalidId):
        candidates.append(ObjectId(value))
    with suppress(ValueError):
        candidates.append(Binary.from_uuid(UUID(value), UuidRepresentation.STANDARD))
    return candidates


def has_ambiguous_document(value: Any) -> bool:
    """Is there a document in it that an event has as a value of another type?"""
    if isinstance(value, Mapping):
        return is_ambiguous(value) or any(map(has_ambiguous_document, value.values()))
    return isinstance(value, list) and any(map(has_ambiguous_document, value))


def _nested(fields: Iterable[tuple[Sequence[str], Any]]) -> Document:
    document: Document = {}
    for path, value in fields:
        inner = document
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = value
    return document
