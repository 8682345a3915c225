"""Opens the source and the copy of a route for a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.routes.config import CopiedField, Route
from sync_service.sinks.base import Sink
from sync_service.sinks.canonical import CanonicalRow, Column, canonical_field
from sync_service.sinks.mongodb.condition import parsed_filter
from sync_service.sinks.mongodb.copy_reader import MongoCopyReader
from sync_service.sinks.mongodb.documents import Documents
from sync_service.sinks.mongodb.errors import without_values
from sync_service.sinks.mongodb.moving import mongo_sink, readable_database
from sync_service.sinks.mongodb.sink import documents_of, live_documents_of
from sync_service.sinks.mongodb.source_reader import MongoSourceReader
from sync_service.sinks.mysql.condition import sql_condition
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
    """`names` are those of source and copy for the report. `sink` writes the copy.

    `is_selective`: the `source` returns the rows of a range that meet a condition, so that others are not extra.
    """

    names: tuple[str, str]
    source: SourceReader
    copy: CopyReader
    sink: Sink
    canonical: CanonicalRow
    is_selective: bool = False


async def open_target(
    route: Route, engine: AsyncEngine, mongo: "MongoClient", *, where: str | None = None
) -> ComparisonTarget:
    """`where` is a condition in the language of the source: SQL, or a filter of MongoDB in extended JSON.

    Raises `CannotCompare`, also if the account may not read the source, and `WrongCondition`.
    """
    if route.source is None:
        raise CannotCompare(
            f"route {route.name}: the name of the topic {route.topic} does not contain database and name of its source"
        )
    database, name = route.source
    if route.target.store == "mongodb":
        return await _from_mysql(route, engine, mongo, database, name, where=where)
    return await _from_mongodb(route, engine, mongo, database, name, where=where)


async def _from_mysql(
    route: Route, engine: AsyncEngine, mongo: "MongoClient", schema: str, name: str, *, where: str | None
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
    key = [wanted[part] for part in route.key_paths]
    table, selected = MysqlTable(engine, schema, name, key, columns), None
    if where is not None:
        selected = MysqlTable(engine, schema, name, key, columns, condition=sql_condition(where), is_read_only=True)
        await selected.check_condition()
    fields = list(route.fields)
    return ComparisonTarget(
        (f"mysql {schema}.{name}", f"mongodb {database.name}.{copy_name}"),
        MysqlSourceReader(table, route, canonical, columns, selected),
        MongoCopyReader(
            Documents(database[copy_name], fields, live_documents_of(route)),
            Documents(database[copy_name], [*fields, "_sync"], documents_of(route)),
            canonical,
        ),
        mongo_sink(mongo, route),
        canonical,
        is_selective=where is not None,
    )


async def _from_mongodb(
    route: Route, engine: AsyncEngine, mongo: "MongoClient", database: str, name: str, *, where: str | None
) -> ComparisonTarget:
    schema = copy_schema(engine, route)
    copy_name = route.target.copy_name
    columns = await table_columns(engine, schema, copy_name)
    _require(route, f"{schema}.{copy_name}", [*route.key, *route.fields, *VERSION_COLUMNS, SOURCE_ID], columns)
    canonical = _canonical(route, columns, in_mongodb=False)
    fields = {path[0] for path in route.read_paths.values()}
    key = list(route.key)
    collection, read = mongo[database][name], sorted(fields - {"_id"})
    selected = None if where is None else Documents(collection, read, parsed_filter(where))
    if selected is not None:
        await selected.check_condition()
    return ComparisonTarget(
        (f"mongodb {database}.{name}", f"mysql {schema}.{copy_name}"),
        MongoSourceReader(Documents(collection, read, {}), route, canonical, selected),
        MysqlCopyReader(
            MysqlTable(engine, schema, copy_name, key, columns, condition=live_rows_of(route)),
            MysqlTable(engine, schema, copy_name, key, columns, condition=rows_of(route)),
            route,
            canonical,
        ),
        MysqlSink(engine, route),
        canonical,
        is_selective=where is not None,
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
