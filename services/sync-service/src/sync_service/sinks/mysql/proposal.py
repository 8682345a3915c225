"""What a copy of a table would have, by the definitions of its columns."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.kafka.deadlines import answering
from sync_service.routes.converters import FieldType
from sync_service.sinks.proposals import CannotPropose, DescribedSource, ProposedField

# MySQL's types as docs/conversions.md has them. The others need a look at the column.
_TYPES: dict[str, FieldType] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), "integer"),
    **dict.fromkeys(("float", "double"), "number"),
    **dict.fromkeys(("char", "varchar", "enum", "set"), "string"),
    **dict.fromkeys(("tinytext", "text", "mediumtext", "longtext"), "text"),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), "binary"),
    **dict.fromkeys(("datetime", "timestamp"), "datetime"),
    "date": "date",
    "time": "time",
    "json": "json_text",
    "vector": "json",
}
# A decimal of BSON has no more.
_LONGEST_DECIMAL = 34
# MongoDB's dates have milliseconds.
_DIGITS_OF_A_SECOND = 3

_COLUMNS = text(
    "SELECT columns.column_name AS name, columns.data_type AS kind, columns.column_type AS full_kind, "
    "columns.is_nullable = 'YES' AS is_nullable, columns.numeric_precision AS `precision`, "
    "columns.numeric_scale AS scale, columns.datetime_precision AS digits, usages.ordinal_position AS place_in_key "
    "FROM information_schema.columns AS columns LEFT JOIN information_schema.key_column_usage AS usages "
    "ON usages.constraint_name = 'PRIMARY' AND usages.table_schema = columns.table_schema "
    "AND usages.table_name = columns.table_name AND usages.column_name = columns.column_name "
    "WHERE columns.table_schema = :schema AND columns.table_name = :name ORDER BY columns.ordinal_position"
)
_TABLE = text(
    "SELECT table_type AS kind, table_rows AS estimate FROM information_schema.tables "
    "WHERE table_schema = :schema AND table_name = :name"
)


@dataclass(frozen=True, slots=True)
class TableColumn:
    """As `information_schema.columns` has it. `place_in_key` is None for a column outside of the primary key."""

    name: str
    kind: str
    full_kind: str
    is_nullable: bool
    precision: int | None
    scale: int | None
    digits: int | None
    place_in_key: int | None


async def describe_table(engine: AsyncEngine, schema: str, name: str) -> DescribedSource:
    """Raises `CannotPropose`, `Unavailable`."""
    place = {"schema": schema, "name": name}
    async with answering(), engine.connect() as connection:
        table = (await connection.execute(_TABLE, place)).one_or_none()
        rows = (await connection.execute(_COLUMNS, place)).mappings().all()
    if table is None or not rows:
        raise CannotPropose(f"there is no table {schema}.{name}, or this account may not read it")
    if table.kind != "BASE TABLE":
        raise CannotPropose(f"{schema}.{name} is a {table.kind.lower()}: only tables have change events")
    columns = [TableColumn(**row) for row in rows]
    key = sorted((each for each in columns if each.place_in_key is not None), key=lambda each: each.place_in_key or 0)
    if not key:
        raise CannotPropose(f"{schema}.{name} has no primary key, which tells its rows apart in the copy")
    return DescribedSource(
        "mysql",
        schema,
        name,
        _proposed(key),
        _proposed([column for column in columns if column.place_in_key is None]),
        f"about {table.estimate or 0:,} rows",
    )


def _proposed(columns: Sequence[TableColumn]) -> list[ProposedField]:
    return [proposed_field(column) for column in columns]


def proposed_field(column: TableColumn) -> ProposedField:
    """The type that copies the column's values exactly, if there is one."""
    kind, options = _type(column), {}
    if kind == "decimal":
        options = {"precision": column.precision, "scale": column.scale}
    # A zero date of such a column is null in its event.
    elif kind in ("date", "datetime") and column.is_nullable:
        options = {"zero_dates": False}
    remark = column.full_kind + ("" if column.is_nullable else " not null")
    if kind is None:
        remark += ": neither store has the other's geometry"
    elif column.kind in ("datetime", "timestamp") and kind == "string":
        remark += ": datetime would cut microseconds off"
    elif kind == "time":
        remark += ": of a day; others are lost (docs/conversions.md)"
    return ProposedField((column.name,), kind, remark, options)


def _type(column: TableColumn) -> FieldType | None:
    match column.kind:
        case "tinyint" if column.full_kind == "tinyint(1)":
            return "boolean"
        case "bigint" if "unsigned" in column.full_kind:
            return "unsigned"
        case "bit":
            return "boolean" if column.full_kind == "bit(1)" else "bits"
        case "decimal":
            return "decimal" if (column.precision or 0) <= _LONGEST_DECIMAL else "string"
        case "datetime" | "timestamp" if (column.digits or 0) > _DIGITS_OF_A_SECOND:
            return "string"
        case kind:
            return _TYPES.get(kind)
