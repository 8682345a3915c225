"""A copy in MySQL: the table `<name>_copy` with versions and tombstones, and the view `<name>` of its live rows."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sync_service.apply.changes import Change
from sync_service.apply.rule import STREAM_WIDTH, Flow
from sync_service.routes.models import CopiedField, Route
from sync_service.sinks.sink import TOMBSTONE_LIFETIME, WRITE_SECONDS, Rejected, Unavailable, Written

VERSION_COLUMNS = ("sync_event", "sync_epoch", "sync_position", "sync_operation", "sync_deleted_at")

# Errors that the values of a row cause (MySQL 9 error reference); every other one is the database's own trouble.
_DATA_ERRORS = frozenset(
    {
        1048,  # column can't be null
        1264,  # out of range
        1265,  # data truncated
        1292,  # incorrect value, such as a date
        1366,  # incorrect value for column
        1367,  # illegal value found during parsing
        1406,  # data too long
        1411,  # incorrect value for function
        1690,  # value out of range in an expression
        3140,  # invalid JSON text
        3141,  # invalid JSON text in a function
        3150,  # JSON too large
        3157,  # JSON too deep
        3819,  # check constraint violated
        3988,  # character that the column's character set lacks
    }
)
_PURGED_AT_ONCE = 1000

# Is the incoming event newer? The rule of `apply.rule`, line by line; `new` is the incoming row.
_NOT_REDELIVERED = f"""(LEFT(old.sync_event, {STREAM_WIDTH}) <> LEFT(new.sync_event, {STREAM_WIDTH})
         OR new.sync_event > old.sync_event)"""
_GUARDS = {
    Flow.LIVE: f"""(
        {_NOT_REDELIVERED}
        AND (new.sync_operation = 'r'
             OR LEFT(new.sync_epoch, CHAR_LENGTH(old.sync_epoch)) <> old.sync_epoch
             OR COALESCE(new.sync_position > old.sync_position, TRUE)))""",
    Flow.REPLAY: f"""(
        {_NOT_REDELIVERED}
        AND LEFT(new.sync_epoch, CHAR_LENGTH(old.sync_epoch)) = old.sync_epoch
        AND COALESCE(new.sync_position > old.sync_position, FALSE))""",
}


class MysqlSink:
    def __init__(self, engine: AsyncEngine, route: Route) -> None:
        self._engine = engine
        self._table = f"{route.target.name}_copy"
        self._keeps_tombstones = route.tombstones == "keep"
        self._key = list(route.key)
        self._fields = list(route.fields)
        self._bind: list[Callable[[Any], Any]] = [
            _binder(field) for field in (*route.key.values(), *route.fields.values())
        ]
        columns = [*self._key, *self._fields, *VERSION_COLUMNS]
        self._row = f"({', '.join(['%s'] * len(columns))})"
        self._insert = f"INSERT INTO {_quoted(self._table)} ({', '.join(map(_quoted, columns))}) VALUES "  # noqa: S608 - names of the route
        self._update = {flow: self._on_duplicate(guard) for flow, guard in _GUARDS.items()}

    def _on_duplicate(self, guard: str) -> str:
        """The guarded half of the upsert.

        MySQL assigns from left to right and sees what it has assigned: the guard is worked out once, for
        `sync_event`, and whether that now names the incoming event decides every other column.
        """
        old = _quoted(self._table)
        won = f"{old}.sync_event = new.sync_event"
        assignments = [f"sync_event = IF({guard.replace('old.', f'{old}.')}, new.sync_event, {old}.sync_event)"]
        assignments += [
            f"{column} = IF({won}, new.{column}, {old}.{column})"
            for column in (*map(_quoted, self._fields), "sync_operation", "sync_deleted_at")
        ]
        # An event without a position leaves the known one, and the epoch that it belongs to.
        assignments += [
            f"{column} = IF({won} AND new.sync_position IS NOT NULL, new.{column}, {old}.{column})"
            for column in ("sync_epoch", "sync_position")
        ]
        return f" AS new ON DUPLICATE KEY UPDATE {', '.join(assignments)}"

    async def prepare(self) -> None:
        """The tables are made by the migrations; here one that does not fit the route is found out early."""
        columns = ", ".join(map(_quoted, (*self._key, *self._fields, *VERSION_COLUMNS)))
        await self._run(f"SELECT {columns} FROM {_quoted(self._table)} LIMIT 0")  # noqa: S608 - names of the route

    async def write(self, changes: Sequence[Change], flow: Flow = Flow.LIVE) -> Written:
        rows = ", ".join([self._row] * len(changes))
        try:
            values = tuple(value for change in changes for value in self._values(change))
        except (ValueError, TypeError, RecursionError) as error:
            raise Rejected(f"{type(error).__name__}: {error}") from error
        try:
            async with asyncio.timeout(WRITE_SECONDS), self._engine.begin() as connection:
                # Both looks are for the counts alone; the guard is in the statement between them.
                before = await self._events(connection, changes)
                await connection.exec_driver_sql(self._insert + rows + self._update[flow], values)
                after = await self._events(connection, changes)
        except (SQLAlchemyError, OSError, UnicodeError, OverflowError) as error:
            raise _translated(error) from error
        fresh = after - before
        applied = sum(change.version.event in fresh for change in changes)
        return Written(applied=applied, skipped=len(changes) - applied)

    async def _events(self, connection: AsyncConnection, changes: Sequence[Change]) -> set[str]:
        """The events that made these rows what they are."""
        keys = f"({', '.join(map(_quoted, self._key))})"
        wanted = ", ".join([f"({', '.join(['%s'] * len(self._key))})"] * len(changes))
        look = f"SELECT sync_event FROM {_quoted(self._table)} WHERE {keys} IN ({wanted})"  # noqa: S608 - names of the route
        values = tuple(value for change in changes for value in self._key_values(change))
        return set((await connection.exec_driver_sql(look, values)).scalars())

    async def purge(self) -> None:
        if self._keeps_tombstones:
            return
        limit = _utc(datetime.now(UTC) - TOMBSTONE_LIFETIME)
        delete = f"DELETE FROM {_quoted(self._table)} WHERE sync_deleted_at < :limit LIMIT {_PURGED_AT_ONCE}"  # noqa: S608 - names of the route
        while await self._run(delete, limit=limit) == _PURGED_AT_ONCE:
            pass

    async def _run(self, statement: str, **parameters: object) -> int:
        """How many rows it is about."""
        try:
            async with asyncio.timeout(WRITE_SECONDS), self._engine.begin() as connection:
                return (await connection.execute(text(statement), parameters)).rowcount
        except (SQLAlchemyError, OSError) as error:
            raise _translated(error) from error

    def _key_values(self, change: Change) -> list[Any]:
        return [bind(value) for bind, value in zip(self._bind, change.key, strict=False)]

    def _values(self, change: Change) -> list[Any]:
        fields = [None if change.values is None else change.values[name] for name in self._fields]
        version = change.version
        return [
            *(bind(value) for bind, value in zip(self._bind, [*change.key, *fields], strict=True)),
            version.event,
            version.epoch,
            version.position,
            version.operation,
            _utc(datetime.now(UTC)) if change.values is None else None,
        ]


def _quoted(name: str) -> str:
    return f"`{name}`"


def _utc(moment: datetime | None) -> datetime | None:
    """DATETIME knows no zones."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _json_text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _binder(field: CopiedField) -> Callable[[Any], Any]:
    if field.is_constant:
        return lambda value: _json_text(value) if isinstance(value, dict | list) else value
    match field.type:
        case "json" | "json_text":
            return _json_text
        case "datetime":
            return _utc
    return lambda value: value


def _translated(error: Exception) -> Rejected | Unavailable:
    if isinstance(error, UnicodeError | OverflowError):
        return Rejected(str(error))
    if isinstance(error, DBAPIError) and error.orig is not None and error.orig.args:
        code, *message = error.orig.args
        reason = " ".join(map(str, message)) or str(code)
        return Rejected(f"{code}: {reason}") if code in _DATA_ERRORS else Unavailable(f"MySQL: {code}: {reason}")
    if isinstance(error, PoolTimeoutError):
        return Unavailable("MySQL: no free connection")
    return Unavailable(f"MySQL: {type(error).__name__}: {error}")
