"""Tables' base, the session of a request and where migrations are."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import uuid_utils
from fastapi import Depends, Request
from sqlalchemy import DateTime, Dialect
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator


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


def migrations_folder() -> Path:
    """In an installed package inside it, in a checkout beside `src`."""
    package = Path(__file__).parent
    inside = package / "migrations"
    return inside if inside.exists() else package.parents[1] / "migrations"


async def _database_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.database_sessions() as session, session.begin():
        yield session


# `function` scope: the transaction is committed before the answer is sent, so no 201 can be taken back.
DatabaseSession = Annotated[AsyncSession, Depends(_database_session, scope="function")]
