"""The current rows of a source as several routes map them: each row is read once, so both mappings are of one state."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.routes.config import Route
from sync_service.sinks.canonical import Column
from sync_service.sinks.mongodb.documents import Documents
from sync_service.sinks.mongodb.source_reader import DocumentMapping
from sync_service.sinks.mysql.source_reader import event_conversions
from sync_service.sinks.mysql.table import MysqlTable, table_columns
from sync_service.sinks.readers import BATCH, source_row
from sync_service.sinks.rows import CannotCompare, SourceRow

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorClient

    MongoClient = AsyncIOMotorClient[dict[str, Any]]

# One for each route; None if the row does not belong into its copy.
MappedRow = Sequence[SourceRow | None]


class SourceRows(Protocol):
    async def estimate(self) -> int:
        """The estimated number of rows."""

    def pages(self) -> AsyncGenerator[Sequence[MappedRow]]:
        """All rows, in the order of the source's key. Both methods raise `CannotCompare`."""


async def open_source_rows(routes: Sequence[Route], engine: AsyncEngine, mongo: "MongoClient") -> SourceRows:
    """`routes` have the same topic. Raises `CannotCompare`, also if the account may not read the source."""
    route = routes[0]
    if route.source is None:
        raise CannotCompare(f"the name of the topic {route.topic} does not contain database and name of its source")
    database, name = route.source
    if route.source_store == "mongodb":
        fields = {path[0] for each in routes for path in each.read_paths.values()}
        return _SourceDocuments(Documents(mongo[database][name], sorted(fields - {"_id"}), {}), routes)
    columns = await table_columns(engine, database, name)
    if not columns:
        raise CannotCompare(
            f"MySQL shows no table {database}.{name}; it does not exist, or this account may not read it"
        )
    keys = [[path[0] for path in each.key_paths.values()] for each in routes]
    key = next((each for each in keys if columns.keys() >= set(each)), None)
    if key is None:
        lacking = ", ".join(sorted(set(keys[0]) - columns.keys()))
        raise CannotCompare(f"the table {database}.{name} has no column {lacking}, which is in the key")
    return _TableRows(MysqlTable(engine, database, name, key, columns), key, routes, columns)


class _SourceDocuments:
    def __init__(self, documents: Documents, routes: Sequence[Route]) -> None:
        self._documents = documents
        self._mappings = [DocumentMapping(route) for route in routes]

    async def estimate(self) -> int:
        return await self._documents.estimate()

    async def pages(self) -> AsyncGenerator[Sequence[MappedRow]]:
        async for batch in self._documents.batches(None, None, BATCH):
            yield [[mapping.row(document) for mapping in self._mappings] for document in batch]


class _TableRows:
    """A column that the table lacks is absent in its rows, and the mapping says whether it must exist."""

    def __init__(
        self, table: MysqlTable, key: Sequence[str], routes: Sequence[Route], columns: Mapping[str, Column]
    ) -> None:
        self._table = table
        self._key = key
        needed = dict.fromkeys([*key, *(path[0] for route in routes for path in route.read_paths.values())])
        self._columns = [column for column in needed if column in columns]
        self._mappings = [(route, event_conversions(route, self._columns, columns)) for route in routes]

    async def estimate(self) -> int:
        return await self._table.estimate()

    async def pages(self) -> AsyncGenerator[Sequence[MappedRow]]:
        last: Sequence[Any] | None = None
        while True:
            rows = [
                dict(zip(self._columns, values, strict=True))
                for values in await self._table.rows(self._columns, last, None, BATCH)
            ]
            # The first row is the last one of the previous page, unless it has been deleted.
            fresh = [row for row in rows if self._native(row) != last]
            if fresh:
                yield [[self._mapped(row, *mapping) for mapping in self._mappings] for row in fresh]
            if len(rows) < BATCH:
                return
            last = self._native(rows[-1])

    def _native(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[column] for column in self._key)

    def _mapped(
        self, row: Mapping[str, Any], route: Route, conversions: Mapping[str, Callable[[Any], Any]]
    ) -> SourceRow | None:
        event = {
            name: conversions[name](value) if value is not None and name in conversions else value
            for name, value in row.items()
        }
        return source_row(route, event, self._native(row))
