"""Writes a copy in MySQL: the table `<name>_copy` with versions and tombstones, and the view `<name>` of live rows."""

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from asyncmy.errors import InterfaceError, MySQLError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service_kit.mysql import create_engine
from service_kit.time_limits import time_limit
from sync_service.apply.changes import Change, Key
from sync_service.apply.ordering import REPAIRED, TOPIC_PARTITION_WIDTH, ApplyMode, Version
from sync_service.debezium.envelope import SNAPSHOT_READ
from sync_service.routes.config import CopiedField, Route
from sync_service.sinks.base import (
    TOMBSTONE_LIFETIME,
    WRITE_SECONDS,
    Rejected,
    Written,
    split_applied_skipped,
)
from sync_service.sinks.mysql.ddl import KEPT, SOURCE_ID, VERSION_COLUMNS
from sync_service.sinks.mysql.errors import is_about_a_row, translated
from sync_service.sinks.mysql.table import copy_schema, quoted, visible_tables

_PURGED_AT_ONCE = 1000
# The server's `max_allowed_packet`, by default 64 MiB, is read only if a statement may be larger than this.
_CERTAIN_PACKET_BYTES = 4 * 1024 * 1024
# A mark of updated rows. No event begins with it.
_WON = "+"
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_UPDATED = re.compile(rb"Duplicates: (\d+)")

# Is the incoming event newer? The rule of `apply.ordering`, line by line; `new` is the incoming row.
_SAME_PARTITION = f"LEFT(old.sync_event, {TOPIC_PARTITION_WIDTH}) = LEFT(new.sync_event, {TOPIC_PARTITION_WIDTH})"
_NOT_REDELIVERED = f"(NOT {_SAME_PARTITION} OR new.sync_event > old.sync_event)"


def _precedes(one: str, other: str) -> str:
    """`LogPosition.precedes` on the stored texts."""
    return f"""COALESCE(
        {one}.sync_epoch = {other}.sync_epoch
        AND SUBSTRING_INDEX({one}.sync_position, '@', 1) < SUBSTRING_INDEX({other}.sync_position, '@', 1)
        AND SUBSTRING_INDEX({one}.sync_position, '-', -1)
            <= SUBSTRING_INDEX(SUBSTRING_INDEX({other}.sync_position, '@', -1), '-', 1), FALSE)"""


_NEWER = f"(old.sync_operation <> '{SNAPSHOT_READ}' AND {_precedes('old', 'new')})"
_GUARDS = {
    ApplyMode.LIVE: f"(({_NOT_REDELIVERED} AND NOT {_precedes('new', 'old')}) OR {_NEWER})",
    ApplyMode.RETRY: f"""(
        {_NOT_REDELIVERED}
        AND ({_NEWER}
             OR ({_SAME_PARTITION} AND old.sync_operation <> '{REPAIRED}' AND NOT {_precedes("new", "old")})))""",
    ApplyMode.REPAIR: "(new.sync_event = old.sync_event)",
}


def _source_id(old: str, mode: ApplyMode) -> str:
    """The new `sync_source_id`. A live row keeps its own: NULL, which the column refuses, is for another source row.

    A repair has compared both rows, and replaces it.
    """
    if mode is ApplyMode.REPAIR:
        return f"new.{SOURCE_ID}"
    free = f"{old}.{SOURCE_ID} IN ('', new.{SOURCE_ID}) OR {old}.sync_deleted_at IS NOT NULL"
    return f"IF({free}, new.{SOURCE_ID}, NULL)"


def engine_for_sinks(address: str, *, pool_size: int) -> AsyncEngine:
    """A sink writes single statements, and computes the number of applied changes from the number of changed rows."""
    return create_engine(address, pool_size=pool_size, autocommit=True, counts_changed=True)


class MysqlSink:
    """`engine` must come from `engine_for_sinks`."""

    def __init__(self, engine: AsyncEngine, route: Route) -> None:
        self._engine = engine
        self._schema, self._name = copy_schema(engine, route), route.target.copy_name
        self._table = f"{quoted(self._schema)}.{quoted(self._name)}"
        self._keeps_tombstones = route.tombstones == "keep"
        self._keeps_rows = route.keeps_rows
        self._excluded = route.excluded_names
        self._key = list(route.key)
        self._fields = list(route.fields)
        self._bind_key = [_binder(field) for field in route.key.values()]
        # Most values need no conversion for the driver.
        self._bind_field = {name: bind for name, field in route.fields.items() if (bind := _binder(field)) is not None}
        columns = [*self._key, *self._fields, *VERSION_COLUMNS, SOURCE_ID]
        self._row = f"({', '.join(['%s'] * len(columns))})"
        self._insert = f"INSERT INTO {self._table} ({', '.join(map(quoted, columns))}) VALUES "  # noqa: S608 - names of the route
        self._update = {mode: self._on_duplicate(guard, mode) for mode, guard in _GUARDS.items()}
        self._knows_columns = self._keeps_rows

    def _on_duplicate(self, guard: str, mode: ApplyMode = ApplyMode.LIVE, *, forgets_kept: bool = False) -> str:
        """The guarded half of the upsert.

        MySQL assigns from left to right and sees earlier assignments. So the guard is evaluated once. If it is true,
        `sync_event` gets a mark, which decides every other column, and finally the mark is removed. (An equal event
        would not do as the mark: a repair changes a row and keeps its event, which may be delivered again.)
        """
        old = self._table
        won = f"LEFT({old}.sync_event, 1) = '{_WON}'"
        marked = f"CONCAT('{_WON}', new.sync_event)"
        assignments = [f"sync_event = IF({guard.replace('old.', f'{old}.')}, {marked}, {old}.sync_event)"]
        assignments.append(f"{SOURCE_ID} = IF({won}, {_source_id(old, mode)}, {old}.{SOURCE_ID})")
        has_values, deleted_at = won, "new.sync_deleted_at"
        if self._keeps_rows:
            # A delete keeps the values of the row, if it has any, and the time of the first delete.
            has_values = f"{won} AND new.sync_deleted_at IS NULL"
            kept = f"new.sync_deleted_at IS NOT NULL AND ({old}.sync_deleted_at IS NULL OR {old}.{KEPT})"
            assignments.append(f"{KEPT} = IF({won}, {kept}, {old}.{KEPT})")
            deleted_at = f"IF({old}.{KEPT}, COALESCE({old}.sync_deleted_at, new.sync_deleted_at), new.sync_deleted_at)"
        elif forgets_kept:
            assignments.append(f"{KEPT} = IF({won}, FALSE, {old}.{KEPT})")
        assignments += [
            f"{column} = IF({has_values}, new.{column}, {old}.{column})" for column in map(quoted, self._fields)
        ]
        assignments.append(f"sync_operation = IF({won}, new.sync_operation, {old}.sync_operation)")
        assignments.append(f"sync_deleted_at = IF({won}, {deleted_at}, {old}.sync_deleted_at)")
        # An event without a position keeps the stored one, with its log generation.
        assignments += [
            f"{column} = IF({won} AND new.sync_position IS NOT NULL, new.{column}, {old}.{column})"
            for column in ("sync_epoch", "sync_position")
        ]
        assignments.append(f"sync_event = IF({won}, new.sync_event, {old}.sync_event)")
        return f" AS new ON DUPLICATE KEY UPDATE {', '.join(assignments)}"

    async def exists(self) -> bool:
        """A table of the copies' former schema is moved here (`sinks.mysql.schema`)."""
        schemas = {self._schema, self._engine.url.database or ""}
        return bool(await visible_tables(self._engine, [(schema, self._name) for schema in schemas]))

    async def prepare(self) -> None:
        """Check that the table fits the route. Tables are created by the migrations, or from the routes."""
        own = [*VERSION_COLUMNS, SOURCE_ID, *([KEPT] if self._keeps_rows else [])]
        columns = ", ".join(map(quoted, (*self._key, *self._fields, *own)))
        await self._run(f"SELECT {columns} FROM {self._table} LIMIT 0")  # noqa: S608 - names of the route
        await self._read_columns()

    async def _read_columns(self) -> None:
        """A table of a route that kept rows before marks them. A row that changes now is no longer one of them."""
        if not self._knows_columns and KEPT in await self._columns():
            self._update = {mode: self._on_duplicate(guard, mode, forgets_kept=True) for mode, guard in _GUARDS.items()}
        self._knows_columns = True

    async def was_replaced(self) -> bool:
        """No: MySQL refuses writes to a table that was dropped, and the route stops."""
        return False

    async def write(self, changes: Sequence[Change], mode: ApplyMode = ApplyMode.LIVE) -> Written:
        try:
            values = [value for change in changes for value in self._values(change)]
        except (ValueError, TypeError, RecursionError) as error:
            raise Rejected(f"{type(error).__name__}: {error}") from error
        await self._read_columns()
        upsert = f"{self._insert}{', '.join([self._row] * len(changes))}{self._update[mode]}"
        try:
            async with time_limit(WRITE_SECONDS), self._engine.connect() as connection:
                applied = await _upsert(connection, upsert, values)
                return await split_applied_skipped(changes, applied, lambda: self._events(connection, changes))
        except (SQLAlchemyError, MySQLError, OSError, EOFError, UnicodeError, OverflowError) as error:
            raise translated(error) from error

    async def version(self, key: Key) -> Version | None:
        columns = "sync_event, sync_epoch, sync_position, sync_operation"
        where = " AND ".join(f"{quoted(name)} = %s" for name in self._key)
        query = f"SELECT {columns} FROM {self._table} WHERE {where}"  # noqa: S608 - names of the route
        try:
            async with time_limit(WRITE_SECONDS), self._engine.connect() as connection:
                row = (await connection.exec_driver_sql(query, tuple(self._key_values(key)))).mappings().first()
        except (SQLAlchemyError, OSError) as error:
            raise translated(error, of_row=False) from error
        if row is None:
            return None
        return Version.stored(row["sync_event"], row["sync_epoch"], row["sync_position"], row["sync_operation"])

    async def _events(self, connection: AsyncConnection, changes: Sequence[Change]) -> set[str]:
        """The events of these rows."""
        keys = f"({', '.join(map(quoted, self._key))})"
        wanted = ", ".join([f"({', '.join(['%s'] * len(self._key))})"] * len(changes))
        query = f"SELECT sync_event FROM {self._table} WHERE {keys} IN ({wanted})"  # noqa: S608 - names of the route
        values = tuple(value for change in changes for value in self._key_values(change.key))
        return set((await connection.exec_driver_sql(query, values)).scalars())

    async def purge(self) -> None:
        """Delete old tombstones, and the values of columns that the route excludes and earlier routes copied."""
        for column in await self._excluded_columns():
            forget = f"UPDATE {self._table} SET {column} = NULL WHERE {column} IS NOT NULL LIMIT {_PURGED_AT_ONCE}"  # noqa: S608 - names of the route
            while await self._run(forget) == _PURGED_AT_ONCE:
                pass
        if self._keeps_tombstones:
            return
        limit = _utc(datetime.now(UTC) - TOMBSTONE_LIFETIME)
        purged = f"sync_deleted_at < :limit{f' AND NOT {KEPT}' if self._keeps_rows else ''}"
        delete = f"DELETE FROM {self._table} WHERE {purged} LIMIT {_PURGED_AT_ONCE}"  # noqa: S608 - names of the route
        while await self._run(delete, limit=limit) == _PURGED_AT_ONCE:
            pass

    async def _excluded_columns(self) -> Sequence[str]:
        """Those that the table has."""
        if not self._excluded:
            return ()
        columns = await self._columns()
        return [quoted(name) for name in self._excluded if name in columns]

    async def _columns(self) -> set[str]:
        try:
            async with time_limit(WRITE_SECONDS), self._engine.connect() as connection:
                return set((await connection.execute(text(f"SHOW COLUMNS FROM {self._table}"))).scalars())
        except (SQLAlchemyError, OSError) as error:
            raise translated(error, of_row=False) from error

    async def _run(self, statement: str, **parameters: object) -> int:
        """The number of affected rows."""
        try:
            async with time_limit(WRITE_SECONDS), self._engine.begin() as connection:
                return (await connection.execute(text(statement), parameters)).rowcount
        except (SQLAlchemyError, OSError) as error:
            raise translated(error, of_row=False) from error

    def _key_values(self, key: Key) -> list[Any]:
        return [value if bind is None else bind(value) for bind, value in zip(self._bind_key, key, strict=True)]

    def _values(self, change: Change) -> list[Any]:
        version, values = change.version, change.values
        if values is None:
            fields: list[Any] = [None] * len(self._fields)
        else:
            bound = {name: bind(values[name]) for name, bind in self._bind_field.items()}
            fields = [bound[name] if name in bound else values[name] for name in self._fields]
        return [
            *self._key_values(change.key),
            *fields,
            version.event,
            version.position.generation if version.position else "",
            version.position.text if version.position else None,
            version.operation,
            _utc(datetime.now(UTC)) if values is None else None,
            change.source_id,
        ]


async def _upsert(connection: AsyncConnection, statement: str, values: list[Any]) -> int:
    """The number of changed rows. It uses the driver directly, because only the driver has the number of updated rows.

    An inserted row counts once, an updated one twice, and an unchanged one not at all. For several rows the answer also
    contains the number of updated ones (MySQL manual, "INSERT ... ON DUPLICATE KEY UPDATE" and "mysql_info()").
    """
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is None:
        raise InterfaceError("no connection")
    try:
        async with driver.cursor() as cursor:
            text_of_all = cursor.mogrify(statement, values)
            await _require_packet(cursor, text_of_all)
            counted: int = await cursor.execute(text_of_all)
            updates = _UPDATED.search(cursor._result.message or b"")  # noqa: SLF001 - the driver has no public attribute for it
    except Rejected:
        raise
    except BaseException as error:
        if not is_about_a_row(error):
            await connection.invalidate()
        raise
    return counted - int(updates[1]) if updates else min(counted, 1)


async def _require_packet(cursor: Any, statement: str) -> None:
    """Raise `Rejected` if the server would not accept the statement: it would close the connection instead."""
    # A character has at most four bytes.
    if len(statement) * 4 <= _CERTAIN_PACKET_BYTES:
        return
    await cursor.execute("SELECT @@max_allowed_packet")
    (limit,) = await cursor.fetchone()
    if (size := len(statement.encode(errors="surrogateescape"))) >= limit:
        raise Rejected(f"its statement has {size} bytes, and MySQL's max_allowed_packet is {limit}: raise it")


def _utc(moment: datetime | None) -> datetime | None:
    """DATETIME has no time zone."""
    if moment is None:
        return None
    return (moment if moment.tzinfo is UTC else moment.astimezone(UTC)).replace(tzinfo=None)


def _json_text(value: Any) -> str | None:
    return None if value is None else _encode(value)


def _binder(field: CopiedField) -> Callable[[Any], Any] | None:
    """Converts a value for the driver; None if it needs no conversion."""
    if field.is_constant:
        return lambda value: _json_text(value) if isinstance(value, dict | list) else value
    match field.type:
        case "json" | "json_text":
            return _json_text
        case "datetime":
            return _utc
    return None
