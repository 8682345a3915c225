"""Reads the rows of a copy in MySQL, with their versions and tombstones."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from sync_service.apply.changes import Key
from sync_service.apply.ordering import Version
from sync_service.debezium.errors import UnfitValue
from sync_service.routes.config import CopiedField, Route
from sync_service.routes.converters import convert
from sync_service.sinks.canonical import CanonicalRow, Checksum
from sync_service.sinks.mysql.ddl import SOURCE_ID, VERSION_COLUMNS
from sync_service.sinks.mysql.table import MysqlTable, Values, quoted
from sync_service.sinks.readers import BATCH
from sync_service.sinks.rows import CopyRow, KeyRange


class MysqlCopyReader:
    """`live` is without tombstones, `whole` includes them."""

    def __init__(self, live: MysqlTable, whole: MysqlTable, route: Route, canonical: CanonicalRow) -> None:
        self._live = live
        self._whole = whole
        self._key = route.key
        self._json = {
            name
            for name, field in route.fields.items()
            if field.type in ("json", "json_text") or isinstance(field.constant, dict | list)
        }
        self._columns = [*self._key, *route.fields, *VERSION_COLUMNS, SOURCE_ID]
        self._canonical = canonical

    async def checksum(self, key_range: KeyRange) -> Checksum:
        fields = (*self._canonical.key, *self._canonical.fields)
        texts = [field.sql(quoted(field.name), of_source=False) for field in fields]
        return await self._live.checksum(texts, *key_range.keys)

    async def pages(self, key_range: KeyRange) -> AsyncIterator[Sequence[CopyRow]]:
        lower, upper = key_range.keys
        last: Key | None = None
        while rows := await self._live.rows(self._columns, last or lower, upper, BATCH):
            # The first row is the last one of the previous page.
            page = [row for row in map(self._row, rows) if row.key != last]
            if not page:
                return
            yield page
            last = page[-1].key

    async def look_up(self, keys: Iterable[Key]) -> Mapping[Key, CopyRow]:
        requested = set(keys)
        rows = (self._row(values) for values in await self._whole.look_up(self._columns, list(requested)))
        return {row.key: row for row in rows if row.key in requested}

    def _row(self, values: Values) -> CopyRow:
        row = dict(zip(self._columns, values, strict=True))
        event, generation, position, operation, deleted_at = (row.pop(column) for column in VERSION_COLUMNS)
        source_id = row.pop(SOURCE_ID)
        key = tuple(_converted(row.pop(name), field) for name, field in self._key.items())
        version = Version.stored(event, generation, position, operation)
        if deleted_at is not None:
            return CopyRow(key, None, version, source_id)
        for name in self._json:
            row[name] = None if row[name] is None else json.loads(row[name])
        return CopyRow(key, row, version, source_id)


def _converted(value: Any, field: CopiedField) -> Any:
    """The value as the route converts it."""
    try:
        return convert(value, field.type)
    except UnfitValue:
        return value
