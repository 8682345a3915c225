"""MySQL for the services that use it: engine and migrations. Needs the `mysql` extra."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from alembic import command
from alembic.config import Config
from pydantic import AfterValidator, SecretStr
from sqlalchemy import Connection, NullPool, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from service_kit.time_limits import time_limit

CONNECT_TIMEOUT_SECONDS = 2
MIGRATION_LOCK_SECONDS = 120
# How long a statement waits for a row that another transaction has locked. MySQL's default is 50.
LOCK_WAIT_SECONDS = 5
_MIGRATION_LOCK_WAIT_SECONDS = 50
# MySQL's default. A server may have another one: without the strict mode it cuts values that don't fit, and with
# NO_BACKSLASH_ESCAPES or ANSI_QUOTES statements mean something else.
_SQL_MODE = (
    "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION"
)

# Error codes of a server that is down, shutting down or full (MySQL's error reference).
_UNAVAILABLE = frozenset({1040, 1053, 1077, 1079, 1203, 1927, 2002, 2003, 2005, 2006, 2013, 2055})


# A server that takes no writes: it has become a replica.
_READ_ONLY = frozenset({1290, 1836})

# The key of a connection's server in the pool's record of it.
_SERVER = "server_uuid"


def is_unavailable(error: DBAPIError) -> bool:
    """Whether the server is unavailable, so that a retry may succeed, rather than the statement invalid."""
    return error.connection_invalidated or _code(error.orig) in _UNAVAILABLE


def _code(error: BaseException | None) -> object:
    return error.args[0] if error and error.args else None


def _check(address: SecretStr) -> SecretStr:
    try:
        url = make_url(address.get_secret_value())
    except (ArgumentError, ValueError):
        # Their messages quote the address, which contains a password.
        url = None
    if url is None or url.drivername != "mysql" or not url.host or not url.database:
        raise ValueError("not a MySQL address; write mysql://user:password@host:port/SCHEMA")
    return address


# The type of a setting: `mysql://user:password@host:port/schema`.
MysqlAddress = Annotated[SecretStr, AfterValidator(_check)]


def mysql_url(address: str) -> URL:
    """The SQLAlchemy URL of `mysql://user:password@host:port/schema`: driver asyncmy, character set utf8mb4."""
    return make_url(address).set(drivername="mysql+asyncmy").update_query_dict({"charset": "utf8mb4"})


def create_engine(
    address: str,
    *,
    pool_size: int = 10,
    autocommit: bool = False,
    counts_changed: bool = False,
    lock_wait_seconds: int = LOCK_WAIT_SECONDS,
) -> AsyncEngine:
    """An engine with sessions in UTC and in MySQL's default mode. Connections are checked before use.

    A server that takes no writes any more ends all its connections: after a failover the address leads to another one.
    If a task is cancelled during a statement, such as by a deadline, the server ends the statement and its transaction.
    With `autocommit` each statement is its own transaction, which saves the round trips of BEGIN and COMMIT.
    With `counts_changed` the affected rows are the changed ones, not the matched ones.
    """
    connect_args: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "init_command": f"SET time_zone = '+00:00', sql_mode = '{_SQL_MODE}', "
        f"innodb_lock_wait_timeout = {lock_wait_seconds}",
    }
    if counts_changed:
        connect_args["client_flag"] = 0  # instead of SQLAlchemy's FOUND_ROWS
    engine = create_async_engine(
        mysql_url(address),
        # Errors are logged, and parameters may be personal data.
        hide_parameters=True,
        # A round trip for each use of a connection. Measured for `GET /v1/users/me` only, on a busy machine: it costs
        # less than 10 %.
        pool_pre_ping=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
        pool_recycle=1800,  # below MySQL's wait_timeout of 8 hours
        connect_args=connect_args,
        isolation_level="AUTOCOMMIT" if autocommit else "READ COMMITTED",
        pool_reset_on_return=None if autocommit else "rollback",
    )
    event.listen(engine.sync_engine, "handle_error", _disconnect_if_read_only)
    event.listen(engine.sync_engine, "connect", _note_server)
    event.listen(engine.sync_engine, "invalidate", _Killer(address))
    return engine


def _disconnect_if_read_only(context: ExceptionContext) -> None:
    if _code(context.original_exception) in _READ_ONLY:
        context.is_disconnect = True


def _note_server(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    """SQLAlchemy's event `connect`."""
    cursor = connection.cursor()
    try:
        cursor.execute("SELECT @@server_uuid")
        ((record.info[_SERVER],),) = cursor.fetchall()
    finally:
        cursor.close()


class _Killer:
    """Ends the server's work for a cancelled task.

    MySQL would notice the closed connection only after the statement, and hold its locks until then. After a failover
    the address leads to another server, where the id may be another connection's: nothing is killed there.
    """

    def __init__(self, address: str) -> None:
        # A connection for each kill, because those of the pool may all be busy.
        connect_args = {"connect_timeout": CONNECT_TIMEOUT_SECONDS}
        self._engine = create_async_engine(
            mysql_url(address), poolclass=NullPool, connect_args=connect_args, isolation_level="AUTOCOMMIT"
        )
        # The event loop keeps weak references only.
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, connection: Any, record: ConnectionPoolEntry, exception: BaseException | None) -> None:
        """SQLAlchemy's event `invalidate`: the connection is about to be closed, because of the exception."""
        if isinstance(exception, asyncio.CancelledError):
            kill = self._kill(connection.driver_connection.thread_id(), record.info.get(_SERVER))
            task = asyncio.get_running_loop().create_task(kill)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _kill(self, connection_id: int, server: str | None) -> None:
        """The statement may have ended in the meantime, or the server may not answer."""
        with suppress(SQLAlchemyError, OSError, TimeoutError):
            async with time_limit(CONNECT_TIMEOUT_SECONDS), self._engine.connect() as connection:
                # No connection has the id 0.
                kill = text("KILL IF(@@server_uuid = :server, :id, 0)")
                await connection.execute(kill, {"server": server, "id": connection_id})


@asynccontextmanager
async def server_lock(engine: AsyncEngine, name: str, seconds: float) -> AsyncIterator[None]:
    """Hold a named lock of the server, which the server releases if the holder dies.

    The lock has its own connection. Raises `TimeoutError` if the lock is not free within `seconds`.
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

    Replicas may start at the same time: a named lock of the server lets one migrate while the others wait. Raises
    `TimeoutError` if the lock is not free within `MIGRATION_LOCK_SECONDS`.
    """
    engine = create_engine(address, pool_size=2, lock_wait_seconds=_MIGRATION_LOCK_WAIT_SECONDS)
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
