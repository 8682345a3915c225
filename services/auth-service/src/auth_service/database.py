"""The base of all tables, transactions, and the place of the migrations."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, cast
from weakref import WeakValueDictionary

import uuid_utils
from sqlalchemy import CursorResult, DateTime, Delete, Dialect, Update
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from auth_service.ranked_queue import FairQueue, QueueFull
from service_kit.problems import Problem, ServiceUnavailable
from service_kit.time_limits import TimeLimitExceeded, time_limit

# A client gets a 503 within three seconds, however MySQL fails to answer.
TRANSACTION_SECONDS = 2.5

# Of the 10 connections of each pool, those of requests without an access token (`limits.anonymous_database`), and those
# of requests with one. So a connection is left for the other kind and for mails and housekeeping; when both kinds use
# their shares, 14 operations and these take the connections in the order of arrival.
ANONYMOUS_CONNECTIONS = 7
CALLER_CONNECTIONS = 7
# Of the requests with an access token, those of one account.
CONNECTIONS_PER_ACCOUNT = 2
# A share's operations that wait for a connection. One more pushes out the last.
MAX_WAITING = 1000

# The key of a session's actions after its commit.
_AFTER_COMMIT = "after_commit"

# Returns the current time in UTC. Tests replace it.
Clock = Callable[[], datetime]


class _UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, stored as DATETIME(6), which has no time zone."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect):  # type: ignore[no-untyped-def]  # SQLAlchemy's own signature
        return dialect.type_descriptor(DATETIME(fsp=6))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - an override
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - an override
        return None if value is None else value.replace(tzinfo=UTC)


class Table(DeclarativeBase):
    """The base of all tables. A column `Mapped[datetime]` is in UTC."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: _UtcDateTime}


def new_id() -> str:
    """A UUIDv7. It grows with time, so that rows are appended to the primary key's index."""
    return str(uuid_utils.uuid7())


def utc_now() -> datetime:
    return datetime.now(UTC)


def table_of(model: type[Table]) -> SqlTable:
    """The table of a model, for statements without the unit of work, which is too slow for a hot path."""
    return cast("SqlTable", model.__table__)


async def rows_affected(session: AsyncSession, statement: Update | Delete) -> int:
    """Execute the statement. Returns how many rows it changed or deleted."""
    result = await session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount


def after_commit(session: AsyncSession, action: Callable[[], object]) -> None:
    """Call `action` when `Database.transaction` has committed this session."""
    session.info.setdefault(_AFTER_COMMIT, []).append(action)


def migrations_folder() -> Path:
    """The folder is inside an installed package, and beside `src` in a checkout."""
    package = Path(__file__).parent
    inside = package / "migrations"
    return inside if inside.exists() else package.parents[1] / "migrations"


@dataclass(frozen=True)
class Requester:
    """The session of a request's access token, and the network that the request came from."""

    session_id: str
    network: str


_UNKNOWN = Requester("", "")
# Of the request that this task handles. It orders operations that wait, and nothing else depends on it.
_requester: ContextVar[Requester] = ContextVar("requester", default=_UNKNOWN)


def set_requester(requester: Requester) -> None:
    """Say whose operations with an access token this task opens from now on."""
    _requester.set(requester)


class Database:
    """Opens transactions. Each has its own `AsyncSession`.

    No transaction may be open while a password is hashed: a login that waits for a core would keep a connection.

    `caller_id` is the account of the request's access token, None without one. Requests with a token have a share of
    the connections, and those of one account a part of it. Who waits for a connection first waits for a place of the
    account, where the sessions with the fewest operations go first, by network, because a stolen token is usually of
    the owner's own session: a thief who floods the account gives way to the owner. Then it waits for a place of all
    accounts, where the networks with the fewest go first.
    """

    def __init__(self, engine: AsyncEngine, reading_engine: AsyncEngine) -> None:
        self.engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._reading_sessions = async_sessionmaker(reading_engine, expire_on_commit=False)
        self._callers = FairQueue(CALLER_CONNECTIONS, waiting=MAX_WAITING)
        # By the id of an account, while operations of it use or wait for a place.
        self._accounts: WeakValueDictionary[str, FairQueue] = WeakValueDictionary()

    @asynccontextmanager
    async def reading(self, caller_id: str | None = None) -> AsyncIterator[AsyncSession]:
        """A session that only reads. Each statement sees the latest committed rows, and no transaction has to end.

        Raises `ServiceUnavailable` after `TRANSACTION_SECONDS`, which include the wait for a connection.
        """
        async with deadline(), self._place(caller_id), self._reading_sessions() as session:
            yield session

    @asynccontextmanager
    async def transaction(self, caller_id: str | None = None) -> AsyncIterator[AsyncSession]:
        """A session that is committed at the end of the block, or rolled back on an exception.

        A `Problem` with `commits_transaction` is committed, too. Raises `ServiceUnavailable` after
        `TRANSACTION_SECONDS`, which include the wait for a connection.
        """
        async with deadline(), self._place(caller_id), self._sessions() as session:
            try:
                yield session
            except Problem as problem:
                if problem.commits_transaction:
                    await _commit(session)
                raise
            await _commit(session)

    @asynccontextmanager
    async def _place(self, caller_id: str | None) -> AsyncIterator[None]:
        if caller_id is None:
            yield
            return
        account = self._accounts.get(caller_id)
        if account is None:
            self._accounts[caller_id] = account = FairQueue(CONNECTIONS_PER_ACCOUNT, waiting=MAX_WAITING)
        requester = _requester.get()
        async with account.place(f"{requester.session_id} {requester.network}"), self._callers.place(requester.network):
            yield


async def _commit(session: AsyncSession) -> None:
    await session.commit()
    for action in session.info.get(_AFTER_COMMIT, ()):
        action()


@asynccontextmanager
async def deadline() -> AsyncIterator[None]:
    """Raises `ServiceUnavailable` if the block takes longer than `TRANSACTION_SECONDS`, or too many others wait."""
    try:
        async with time_limit(TRANSACTION_SECONDS):
            yield
    except QueueFull as error:
        raise ServiceUnavailable("Too many other requests wait for the database.") from error
    except TimeLimitExceeded as error:
        raise ServiceUnavailable("The database does not answer in time.") from error
