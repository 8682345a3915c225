"""Tables' base, transactions and where migrations are."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import uuid_utils
from sqlalchemy import CursorResult, DateTime, Delete, Dialect, Update
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from service_kit.problems import Problem, ServiceUnavailable

# A client hears a 503 within three seconds, however MySQL fails to answer.
TRANSACTION_SECONDS = 2.5

# Gives the moment, in UTC; tests turn it.
Clock = Callable[[], datetime]


class Table(DeclarativeBase):
    pass


class Moment(TypeDecorator[datetime]):
    """An aware datetime in UTC, stored as DATETIME(6), which knows no zones."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect):  # type: ignore[no-untyped-def]  # SQLAlchemy's own signature
        return dialect.type_descriptor(DATETIME(fsp=6))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - an override
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - an override
        return None if value is None else value.replace(tzinfo=UTC)


def new_id() -> str:
    """A UUIDv7: unique everywhere, and in the order of creation, which keeps primary keys appending."""
    return str(uuid_utils.uuid7())


def now() -> datetime:
    return datetime.now(UTC)


def table_of(model: type[Table]) -> SqlTable:
    """For statements that bypass the unit of work, which a hot path has no time for."""
    return cast("SqlTable", model.__table__)


async def rows_affected(session: AsyncSession, statement: Update | Delete) -> int:
    """Execute the statement; how many rows it changed or deleted."""
    result = await session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount


def migrations_folder() -> Path:
    """In an installed package inside it, in a checkout beside `src`."""
    package = Path(__file__).parent
    inside = package / "migrations"
    return inside if inside.exists() else package.parents[1] / "migrations"


class Database:
    """Hands out transactions, each with an `AsyncSession` of its own.

    None is open while a password is hashed: a login that waits for a core must not keep a connection from others.
    """

    def __init__(self, engine: AsyncEngine, reading_engine: AsyncEngine) -> None:
        self.engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._reading_sessions = async_sessionmaker(reading_engine, expire_on_commit=False)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session for looking only: each statement sees what is committed, and no transaction has to be ended.

        Raises `ServiceUnavailable` after `TRANSACTION_SECONDS`.
        """
        async with _deadline(), self._reading_sessions() as session:
            yield session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session that is committed at the end, or rolled back if an exception ends it.

        A `Problem` that `commits_transaction` is committed all the same. Raises `ServiceUnavailable` after
        `TRANSACTION_SECONDS`.
        """
        async with _deadline(), self._sessions() as session:
            try:
                yield session
            except Problem as problem:
                if problem.commits_transaction:
                    await session.commit()
                raise
            await session.commit()


@asynccontextmanager
async def _deadline() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TRANSACTION_SECONDS) as deadline:
            yield
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise ServiceUnavailable("The database does not answer in time.") from error
