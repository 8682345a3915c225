"""A table in MySQL, read by ranges of its primary key."""

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service_kit.time_limits import time_limit
from sync_service.kafka.deadlines import answering
from sync_service.routes.config import Route
from sync_service.sinks.canonical import Checksum, Column, checksum_sql
from sync_service.sinks.mysql import ddl
from sync_service.sinks.mysql.errors import reason_of
from sync_service.sinks.mysql.event_values import SELECTED
from sync_service.sinks.rows import CannotCompare, WrongCondition

# A statement that takes longer has lost its server.
READ_SECONDS = 120.0
LOOKED_UP_AT_ONCE = 500

# The expression by which keys are compared if their column is not in byte order. It has no index: every range needs a
# scan of the table, but the result is right.
_IN_ORDER_OF_BYTES = "(CONVERT({0} USING utf8mb4) COLLATE utf8mb4_0900_bin)"

_VISIBLE = text(
    "SELECT LOWER(table_schema), LOWER(table_name) FROM information_schema.tables "
    "WHERE (table_schema, table_name) IN :places"
).bindparams(bindparam("places", expanding=True))

Values = Sequence[Any]


class MysqlTable:
    """`key` are the columns of the primary key. Only rows that meet the SQL `condition` are read.

    `is_read_only`: in transactions in which MySQL refuses to write, because a user has given the condition.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        schema: str,
        name: str,
        key: Sequence[str],
        columns: Mapping[str, Column],
        *,
        condition: str = "TRUE",
        is_read_only: bool = False,
    ) -> None:
        self._engine = engine
        self._schema, self._name = schema, name
        self._table = f"{quoted(schema)}.{quoted(name)}"
        self._condition = condition
        self._is_read_only = is_read_only
        self._columns = columns
        self._key = ", ".join(map(quoted, key))
        self._selected_key = self._selected(key)
        self._ordered = [
            quoted(column) if columns[column].is_in_order_of_bytes else _IN_ORDER_OF_BYTES.format(quoted(column))
            for column in key
        ]

    async def estimate(self) -> int:
        """The number of rows, as the optimizer estimates it."""
        statement = "SELECT table_rows FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
        rows = await self._read(statement, (self._schema, self._name))
        return int(rows[0][0] or 0) if rows else 0

    async def check_condition(self) -> None:
        """Raises `WrongCondition`."""
        try:
            await self._read(f"SELECT 1 FROM {self._table} WHERE {self._condition} LIMIT 0", ())  # noqa: S608 - see above
        except CannotCompare as error:
            raise WrongCondition(f"--where: {error}") from error

    async def keys_from(
        self, lower: Values | None, offset: int, limit: int, upper: Values | None = None
    ) -> Sequence[Values]:
        """`limit` keys, after the first `offset` from `lower` on, up to but without `upper` (None: open)."""
        condition, values = self._within(lower, upper)
        return await self._read(
            f"SELECT {self._selected_key} FROM {self._table} WHERE {condition} "  # noqa: S608 - names of the route
            f"ORDER BY {', '.join(self._ordered)} LIMIT {limit} OFFSET {offset}",
            values,
        )

    async def checksum(self, texts: Sequence[str], lower: Values | None, upper: Values | None) -> Checksum:
        condition, values = self._within(lower, upper)
        statement = f"SELECT {checksum_sql(texts)} FROM {self._table} WHERE {condition}"  # noqa: S608 - names of the route
        ((count, digest),) = await self._read(statement, values)
        return Checksum(count, int.from_bytes(digest) if count else 0)

    async def rows(
        self, columns: Sequence[str], lower: Values | None, upper: Values | None, limit: int | None = None
    ) -> Sequence[Values]:
        """The rows of a range, in the order of the key."""
        condition, values = self._within(lower, upper)
        return await self._read(
            f"SELECT {self._selected(columns)} FROM {self._table} WHERE {condition} "  # noqa: S608 - names of the route
            f"ORDER BY {', '.join(self._ordered)}" + ("" if limit is None else f" LIMIT {limit}"),
            values,
        )

    async def look_up(self, columns: Sequence[str], keys: Sequence[Values]) -> Sequence[Values]:
        """The rows with these keys, and perhaps some more, because MySQL's collation may treat other keys as equal."""
        found: list[Values] = []
        for start in range(0, len(keys), LOOKED_UP_AT_ONCE):
            wanted = keys[start : start + LOOKED_UP_AT_ONCE]
            places = ", ".join([f"({', '.join(['%s'] * len(wanted[0]))})"] * len(wanted))
            found += await self._read(
                f"SELECT {self._selected(columns)} FROM {self._table} "  # noqa: S608 - names of the route
                f"WHERE {self._condition} AND ({self._key}) IN ({places})",
                [value for key in wanted for value in key],
            )
        return found

    def _selected(self, columns: Sequence[str]) -> str:
        expressions = (SELECTED.get(self._columns[name].data_type, "{0}").format(quoted(name)) for name in columns)
        return ", ".join(expressions)

    def _within(self, lower: Values | None, upper: Values | None) -> tuple[str, list[Any]]:
        conditions, values = [self._condition], []
        for bound, sign, last in ((lower, ">", ">="), (upper, "<", "<")):
            if bound is not None:
                condition, its_values = _beyond(self._ordered, bound, sign, last)
                conditions.append(condition)
                values += its_values
        return " AND ".join(conditions), values

    async def _read(self, statement: str, values: Sequence[Any]) -> Sequence[Values]:
        return await read(self._engine, statement, values, is_read_only=self._is_read_only)


async def read(
    engine: AsyncEngine, statement: str, values: Sequence[Any], *, is_read_only: bool = False
) -> Sequence[Values]:
    """Raises `CannotCompare`."""
    bound = tuple(_naive(value) if isinstance(value, datetime) else value for value in values)
    try:
        async with time_limit(READ_SECONDS), engine.connect() as connection:
            if is_read_only:
                # Without autocommit, so that SQLAlchemy ends the transaction.
                await connection.execution_options(isolation_level="READ COMMITTED")
                await connection.exec_driver_sql("START TRANSACTION READ ONLY")
            return (await connection.exec_driver_sql(statement, bound)).fetchall()
    except (SQLAlchemyError, OSError) as error:
        raise CannotCompare(f"MySQL can't be read: {_reason(error)}") from error


async def table_columns(engine: AsyncEngine, schema: str, table: str) -> Mapping[str, Column]:
    """The columns that the account may see; none if the table does not exist. Raises `CannotCompare`."""
    rows = await read(
        engine,
        "SELECT column_name, data_type, collation_name, datetime_precision, column_type, is_nullable "
        "FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
        (schema, table),
    )
    return {
        name: Column(name, data_type.lower(), collation, digits, full_type.lower(), is_nullable == "YES")
        for name, data_type, collation, digits, full_type, is_nullable in rows
    }


async def visible_tables(engine: AsyncEngine, places: Collection[tuple[str, str]]) -> AbstractSet[tuple[str, str]]:
    """Those of the tables that exist, as far as the account may see it: schema and name in lower case.

    Raises `Unavailable`.
    """
    async with answering(), engine.connect() as connection:
        return await visible_tables_by(connection, places)


async def visible_tables_by(
    connection: AsyncConnection, places: Collection[tuple[str, str]]
) -> AbstractSet[tuple[str, str]]:
    """As `visible_tables`. Raises `DBAPIError`."""
    if not places:
        return frozenset()
    found = await connection.execute(_VISIBLE, {"places": list(places)})
    return {(schema, name) for schema, name in found}


def copy_schema(engine: AsyncEngine, route: Route) -> str:
    """The schema of the copy: the one that the route names, or that of the engine's address."""
    return route.target.database or engine.url.database or ""


def quoted(name: str) -> str:
    return ddl.quoted(name).replace("%", "%%")


def _beyond(parts: Sequence[str], bound: Values, sign: str, last: str) -> tuple[str, list[Any]]:
    """The condition for rows from a bound on, or before it, part by part of the key. MySQL uses the index for it."""
    if len(parts) == 1:
        return f"{parts[0]} {last} %s", [bound[0]]
    inner, values = _beyond(parts[1:], bound[1:], sign, last)
    return f"({parts[0]} {sign} %s OR ({parts[0]} = %s AND {inner}))", [bound[0], bound[0], *values]


def _naive(moment: datetime) -> datetime:
    """DATETIME has no time zone."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {READ_SECONDS:g} s"
    return reason_of(error)[:300]
