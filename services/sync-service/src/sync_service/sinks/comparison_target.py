"""Opens the source and the copy of a route for a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.routes.config import CopiedField, Route
from sync_service.sinks.base import Sink
from sync_service.sinks.canonical import CanonicalRow, Column, canonical_field
from sync_service.sinks.mongodb.copy_reader import MongoCopyReader
from sync_service.sinks.mongodb.documents import Documents
from sync_service.sinks.mongodb.errors import without_values
from sync_service.sinks.mongodb.moving import mongo_sink, readable_database
from sync_service.sinks.mongodb.sink import documents_of, live_documents_of
from sync_service.sinks.mongodb.source_reader import MongoSourceReader
from sync_service.sinks.mysql.copy_reader import MysqlCopyReader
from sync_service.sinks.mysql.ddl import SOURCE_ID, VERSION_COLUMNS, live_rows_of, rows_of
from sync_service.sinks.mysql.sink import MysqlSink
from sync_service.sinks.mysql.source_reader import MysqlSourceReader
from sync_service.sinks.mysql.table import MysqlTable, copy_schema, table_columns
from sync_service.sinks.readers import CopyReader, SourceReader
from sync_service.sinks.rows import CannotCompare

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorClient

    MongoClient = AsyncIOMotorClient[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ComparisonTarget:
    """`names` are those of source and copy for the report. `sink` writes the copy."""

    names: tuple[str, str]
    source: SourceReader
    copy: CopyReader
    sink: Sink
    canonical: CanonicalRow


async def open_target(route: Route, engine: AsyncEngine, mongo: "MongoClient") -> ComparisonTarget:
    """Raises `CannotCompare`, also if the account may not read the source."""
    if route.source is None:
        raise CannotCompare(
            f"route {route.name}: the name of the topic {route.topic} does not contain database and name of its source"
        )
    database, name = route.source
    if route.target.store == "mongodb":
        return await _from_mysql(route, engine, mongo, database, name)
    return await _from_mongodb(route, engine, mongo, database, name)


async def _from_mysql(
    route: Route, engine: AsyncEngine, mongo: "MongoClient", schema: str, name: str
) -> ComparisonTarget:
    columns = await table_columns(engine, schema, name)
    wanted = {copied: path[0] for copied, path in route.source_paths.items()}
    _require(route, f"{schema}.{name}", [path[0] for path in route.read_paths.values()], columns)
    canonical = _canonical(route, {copied: columns[column] for copied, column in wanted.items()}, in_mongodb=True)
    try:
        database = await readable_database(mongo, route)
    except PyMongoError as error:
        raise CannotCompare(f"MongoDB can't be read: {without_values(str(error))}") from error
    copy_name = route.target.copy_name
    table = MysqlTable(engine, schema, name, [wanted[part] for part in route.key_paths], columns)
    fields = list(route.fields)
    return ComparisonTarget(
        (f"mysql {schema}.{name}", f"mongodb {database.name}.{copy_name}"),
        MysqlSourceReader(table, route, canonical, columns),
        MongoCopyReader(
            Documents(database[copy_name], fields, live_documents_of(route)),
            Documents(database[copy_name], [*fields, "_sync"], documents_of(route)),
            canonical,
        ),
        mongo_sink(mongo, route),
        canonical,
    )


async def _from_mongodb(
    route: Route, engine: AsyncEngine, mongo: "MongoClient", database: str, name: str
) -> ComparisonTarget:
    schema = copy_schema(engine, route)
    copy_name = route.target.copy_name
    columns = await table_columns(engine, schema, copy_name)
    _require(route, f"{schema}.{copy_name}", [*route.key, *route.fields, *VERSION_COLUMNS, SOURCE_ID], columns)
    canonical = _canonical(route, columns, in_mongodb=False)
    fields = {path[0] for path in route.read_paths.values()}
    key = list(route.key)
    return ComparisonTarget(
        (f"mongodb {database}.{name}", f"mysql {schema}.{copy_name}"),
        MongoSourceReader(Documents(mongo[database][name], sorted(fields - {"_id"}), {}), route, canonical),
        MysqlCopyReader(
            MysqlTable(engine, schema, copy_name, key, columns, condition=live_rows_of(route)),
            MysqlTable(engine, schema, copy_name, key, columns, condition=rows_of(route)),
            route,
            canonical,
        ),
        MysqlSink(engine, route),
        canonical,
    )


def _canonical(route: Route, columns: Mapping[str, Column], *, in_mongodb: bool) -> CanonicalRow:
    """`columns` by the names of the copy's fields. A constant or computed field in a collection has no column."""

    def written(fields: Mapping[str, Any]) -> list[Any]:
        return [
            canonical_field(name, field, _column(columns.get(name), field, of_source=in_mongodb), in_mongodb=in_mongodb)
            for name, field in fields.items()
        ]

    return CanonicalRow(
        written(route.key),
        written(route.fields),
        route.is_keyed_by_document,
        is_selected_here=in_mongodb and route.where is not None,
    )


_NO_COLUMN = Column("", "constant")


def _column(column: Column | None, field: CopiedField, *, of_source: bool) -> Column:
    """The column whose values are compared. A column of the source has not what a hash or a mask makes of it."""
    return _NO_COLUMN if column is None or (of_source and field.is_protected) else column


def _require(route: Route, table: str, wanted: Any, columns: Mapping[str, Column]) -> None:
    if not columns:
        raise CannotCompare(
            f"route {route.name}: MySQL shows no table {table}; it does not exist, or this account may not read it"
        )
    if lacking := sorted(set(wanted) - columns.keys()):
        raise CannotCompare(f"route {route.name}: the table {table} has no column {', '.join(lacking)}")
