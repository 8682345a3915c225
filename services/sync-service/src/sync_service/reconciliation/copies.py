"""The side that is to be like the source: rows with what made them, and tombstones."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sync_service.apply.changes import Key
from sync_service.apply.ordering import TOPIC_PARTITION_WIDTH, Version
from sync_service.debezium.errors import UnfitValue
from sync_service.reconciliation.canonical import CanonicalRow, Checksum, ChecksumBuilder
from sync_service.reconciliation.documents import Document, Documents
from sync_service.reconciliation.mysql_table import MysqlTable, Values, quoted
from sync_service.reconciliation.rows import CopyRow, KeyRange
from sync_service.reconciliation.sources import BATCH
from sync_service.routes.config import CopiedField, Route
from sync_service.routes.converters import convert
from sync_service.routes.mapping import DocumentId
from sync_service.sinks.mysql import VERSION_COLUMNS

LIVE_ROWS = "sync_deleted_at IS NULL"
LIVE_DOCUMENTS: Mapping[str, Any] = {"_sync.deleted_at": None}


class CopyReader(Protocol):
    async def checksum(self, key_range: KeyRange) -> Checksum:
        """Of the live rows of the range."""

    def pages(self, key_range: KeyRange) -> AsyncIterator[Sequence[CopyRow]]:
        """The live rows, some at a time: of a copy, a range may have any number."""

    async def look_up(self, keys: Iterable[Key]) -> Mapping[Key, CopyRow]:
        """Tombstones too. All of these raise `CannotCompare`."""


class MysqlCopyReader:
    """`live` has no tombstones, `whole` has them."""

    def __init__(self, live: MysqlTable, whole: MysqlTable, route: Route, canonical: CanonicalRow) -> None:
        self._live = live
        self._whole = whole
        self._key = route.key
        self._json = {
            name
            for name, field in route.fields.items()
            if field.type in ("json", "json_text") or isinstance(field.constant, dict | list)
        }
        self._columns = [*self._key, *route.fields, *VERSION_COLUMNS]
        self._canonical = canonical

    async def checksum(self, key_range: KeyRange) -> Checksum:
        fields = (*self._canonical.key, *self._canonical.fields)
        texts = [field.sql(quoted(field.name), of_source=False) for field in fields]
        return await self._live.checksum(texts, *key_range.keys)

    async def pages(self, key_range: KeyRange) -> AsyncIterator[Sequence[CopyRow]]:
        lower, upper = key_range.keys
        last: Key | None = None
        while rows := await self._live.rows(self._columns, last or lower, upper, BATCH):
            # The first row is the last one of the page before.
            page = [row for row in map(self._row, rows) if row.key != last]
            if not page:
                return
            yield page
            last = page[-1].key

    async def look_up(self, keys: Iterable[Key]) -> Mapping[Key, CopyRow]:
        wanted = set(keys)
        rows = (self._row(values) for values in await self._whole.look_up(self._columns, list(wanted)))
        return {row.key: row for row in rows if row.key in wanted}

    def _row(self, values: Values) -> CopyRow:
        row = dict(zip(self._columns, values, strict=True))
        event, log_generation, position, operation, deleted_at = (row.pop(column) for column in VERSION_COLUMNS)
        key = tuple(_converted(row.pop(name), field) for name, field in self._key.items())
        version = Version(
            event[:TOPIC_PARTITION_WIDTH], event[TOPIC_PARTITION_WIDTH + 1 :], log_generation, position, operation
        )
        if deleted_at is not None:
            return CopyRow(key, None, version)
        for name in self._json:
            row[name] = None if row[name] is None else json.loads(row[name])
        return CopyRow(key, row, version)


class MongoCopyReader:
    """`live` has no tombstones and no versions, `whole` has both."""

    def __init__(self, live: Documents, whole: Documents, canonical: CanonicalRow) -> None:
        self._live = live
        self._whole = whole
        self._canonical = canonical

    async def checksum(self, key_range: KeyRange) -> Checksum:
        builder, text = ChecksumBuilder(), self._canonical.text
        async for batch in self._live.batches(*_ids(key_range), BATCH):
            for document in batch:
                builder.add(text(_key_of(document), document))
        return builder.checksum

    async def pages(self, key_range: KeyRange) -> AsyncIterator[Sequence[CopyRow]]:
        async for batch in self._whole.batches(*_ids(key_range), BATCH):
            rows = map(_copy_row, batch)
            yield [row for row in rows if row.values is not None]

    async def look_up(self, keys: Iterable[Key]) -> Mapping[Key, CopyRow]:
        return {row.key: row for row in map(_copy_row, await self._whole.look_up([key[0] for key in keys]))}


def _converted(value: Any, field: CopiedField) -> Any:
    """As the route makes it of the source's."""
    try:
        return convert(value, field.type)
    except UnfitValue:
        return value


def _ids(key_range: KeyRange) -> tuple[Any, Any]:
    lower, upper = key_range.keys
    return lower[0] if lower else None, upper[0] if upper else None


def _key_of(document: Document) -> Key:
    identifier = document["_id"]
    return (DocumentId(identifier) if isinstance(identifier, dict) else identifier,)


def _copy_row(document: Document) -> CopyRow:
    stored = document.get("_sync")
    version = None
    if isinstance(stored, dict):
        names = ("stream", "offset", "epoch", "position", "operation")
        topic_partition, offset, generation, position, operation = (stored.get(name) for name in names)
        version = Version(topic_partition or "", offset or "", generation or "", position, operation or "")
        if stored.get("deleted_at") is not None:
            return CopyRow(_key_of(document), None, version)
    return CopyRow(_key_of(document), document, version)
