"""MySQL for the services that use it: engine and migrations. Needs the `mysql` extra."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from alembic import command
from alembic.config import Config
from pydantic import AfterValidator, SecretStr
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

CONNECT_TIMEOUT_SECONDS = 2
# A connection that was used less long ago is taken for alive.
IDLE_SECONDS = 1.0
MIGRATION_LOCK_SECONDS = 120


# Errors of a server that is away, going or not taking anybody (MySQL's error reference).
_AWAY = frozenset({1040, 1053, 1077, 1079, 1203, 1927, 2002, 2003, 2005, 2006, 2013, 2055})


def is_away(error: DBAPIError) -> bool:
    """Is it worth trying again, because the server is not there, or is the statement what is wrong?"""
    code = error.orig.args[0] if error.orig and error.orig.args else None
    return error.connection_invalidated or code in _AWAY


def _check(address: SecretStr) -> SecretStr:
    try:
        url = make_url(address.get_secret_value())
    except (ArgumentError, ValueError):
        # The reasons they give quote the address.
        url = None
    if url is None or url.drivername != "mysql" or not url.host or not url.database:
        raise ValueError("not a MySQL address; write mysql://user:password@host:port/SCHEMA")
    return address


# A setting: `mysql://user:password@host:port/schema`.
MysqlAddress = Annotated[SecretStr, AfterValidator(_check)]


def mysql_url(address: str) -> URL:
    """`mysql://user:password@host:port/schema` as SQLAlchemy wants it: asyncmy, and all of Unicode."""
    return make_url(address).set(drivername="mysql+asyncmy").update_query_dict({"charset": "utf8mb4"})


def create_engine(
    address: str, *, pool_size: int = 10, autocommit: bool = False, counts_changed: bool = False
) -> AsyncEngine:
    """An engine whose sessions speak UTC and whose connections are checked before use, if they have been idle.

    With `autocommit` each statement is a transaction of its own, which saves the round trips that begin and end one.
    With `counts_changed` a row that a statement finds to be right already is not counted as affected.
    """
    connect_args: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "init_command": "SET time_zone = '+00:00'",
    }
    if counts_changed:
        connect_args["client_flag"] = 0  # instead of SQLAlchemy's FOUND_ROWS
    engine = create_async_engine(
        mysql_url(address),
        # An error's text ends in the log: what is in a statement's parameters must not.
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
        pool_recycle=1800,  # below MySQL's wait_timeout of 8 hours
        connect_args=connect_args,
        isolation_level="AUTOCOMMIT" if autocommit else "READ COMMITTED",
        pool_reset_on_return=None if autocommit else "rollback",
    )
    _check_idle_connections(engine)
    return engine


def _check_idle_connections(engine: AsyncEngine) -> None:
    """What `pool_pre_ping` does, but not for a connection that was in use a moment ago: that costs a round trip."""

    @event.listens_for(engine.sync_engine, "checkin")
    def remember(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def check(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        idle = time.monotonic() - record.info.get("used_at", time.monotonic())
        if idle < IDLE_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # Tells the pool to try another connection.
            raise DisconnectionError from error


@asynccontextmanager
async def server_lock(engine: AsyncEngine, name: str, seconds: float) -> AsyncIterator[None]:
    """Hold a named lock of the server, which frees it by itself if its holder dies.

    It belongs to a connection of its own. Raises `TimeoutError` if it can't be had in `seconds`.
    """
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        lock = {"name": name, "seconds": seconds}
        if not await connection.scalar(text("SELECT GET_LOCK(:name, :seconds)"), lock):
            raise TimeoutError(f"another process has been holding the lock “{name}” for {seconds:g} s")
        try:
            yield
        finally:
            await connection.execute(text("SELECT RELEASE_LOCK(:name)"), lock)


async def migrate(address: str, scripts: Path) -> None:
    """Bring the schema up to date with Alembic's `scripts`.

    Replicas may start at once: a named lock of the server lets one migrate while the others wait, and is freed
    by the server itself if its holder dies. Raises `TimeoutError` if the lock can't be had in
    `MIGRATION_LOCK_SECONDS`.
    """
    engine = create_engine(address, pool_size=2)
    schema = mysql_url(address).database
    try:
        async with (
            server_lock(engine, f"migrate {schema}", MIGRATION_LOCK_SECONDS),
            engine.connect() as connection,
        ):
            await connection.run_sync(_upgrade, scripts)
            await connection.commit()
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, scripts: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
