"""Reads the documents of a copy in MongoDB, with their versions and tombstones."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from sync_service.apply.changes import Key
from sync_service.sinks.canonical import CanonicalRow, Checksum, ChecksumBuilder
from sync_service.sinks.mongodb.documents import Document, Documents, stored_version
from sync_service.sinks.mongodb.keys import key_of, stored_id
from sync_service.sinks.readers import BATCH
from sync_service.sinks.rows import CopyRow, KeyRange


class MongoCopyReader:
    """`live` is without tombstones and versions, `whole` includes both."""

    def __init__(self, live: Documents, whole: Documents, canonical: CanonicalRow) -> None:
        self._live = live
        self._whole = whole
        self._canonical = canonical

    async def checksum(self, key_range: KeyRange) -> Checksum:
        builder, text = ChecksumBuilder(), self._canonical.text
        async for batch in self._live.batches(*_ids(key_range), BATCH):
            for document in batch:
                builder.add(text(key_of(document["_id"]), document))
        return builder.checksum

    async def pages(self, key_range: KeyRange) -> AsyncIterator[Sequence[CopyRow]]:
        async for batch in self._whole.batches(*_ids(key_range), BATCH):
            rows = map(_copy_row, batch)
            yield [row for row in rows if row.values is not None]

    async def look_up(self, keys: Iterable[Key]) -> Mapping[Key, CopyRow]:
        return {row.key: row for row in map(_copy_row, await self._whole.look_up([stored_id(key) for key in keys]))}


def _ids(key_range: KeyRange) -> tuple[Any, Any]:
    lower, upper = key_range.keys
    return stored_id(lower) if lower else None, stored_id(upper) if upper else None


def _copy_row(document: Document) -> CopyRow:
    version = stored_version(document)
    is_deleted = version is not None and document["_sync"].get("deleted_at") is not None
    return CopyRow(key_of(document["_id"]), None if is_deleted else document, version)
