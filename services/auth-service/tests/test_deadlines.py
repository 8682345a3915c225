"""When a request gives up, the database server ends its work, too."""

import asyncio

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.database import Database
from auth_service.main import database_of
from auth_service.settings import Settings
from auth_service.users.repository import UserRepository
from service_kit.mysql import LOCK_WAIT_SECONDS, create_engine
from service_kit.problems import ServiceUnavailable
from support.auth_app import Mailbox, RegisteredUser, lock_waits
from support.polling import eventually

# Hours of computing, which MySQL does not interrupt because of a closed connection.
LONG_STATEMENT = text("DO BENCHMARK(1000000000000, SHA2('long statement', 512))")


@pytest.fixture
def database(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Its operations give up soon."""
    monkeypatch.setattr("auth_service.database.TRANSACTION_SECONDS", 0.5)
    database: Database = app.state.database
    return database


async def long_statements(rows: AsyncEngine) -> list[int]:
    query = text(
        "SELECT id FROM performance_schema.processlist WHERE info LIKE 'DO BENCHMARK%' AND id <> CONNECTION_ID()"
    )
    async with rows.connect() as connection:
        return list(await connection.scalars(query))


@pytest.mark.parametrize("way", ["transaction", "reading"])
async def test_statement_of_a_request_that_gave_up_ends(database: Database, rows: AsyncEngine, way: str) -> None:
    try:
        with pytest.raises(ServiceUnavailable):
            async with database.transaction() if way == "transaction" else database.reading() as session:
                await session.execute(LONG_STATEMENT)
        await eventually(lambda: long_statements(rows), lambda ids: not ids)
    finally:
        async with rows.connect() as connection:
            for connection_id in await long_statements(rows):
                await connection.execute(text(f"KILL {connection_id}"))


async def test_request_that_gave_up_holds_and_awaits_no_lock(
    app: FastAPI, rows: AsyncEngine, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    """Otherwise it would get the locked row later, and block others in turn.

    A deadline cancels in the same way, but might come before the lock is seen.
    """
    database: Database = app.state.database
    user_id = registered["user"]["id"]
    # The worker locks the user to write the mail.
    await mailbox.token(registered["user"]["email"], "confirm your email address")
    async with rows.begin() as connection:
        locked = text("SELECT id FROM users WHERE id = :id FOR UPDATE")
        assert await connection.scalar(locked, {"id": user_id}) is not None

        async def lock() -> None:
            async with database.transaction() as session:
                await UserRepository(session).lock(user_id)

        waiting = asyncio.create_task(lock())
        await eventually(lambda: lock_waits(rows, "users"))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await eventually(lambda: lock_waits(rows, "users"), lambda count: count == 0, within=30)


async def test_locks_are_awaited_for_seconds_only(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """In case that the server can't be reached to end the statement."""
    monkeypatch.setitem(create_engine.__kwdefaults__, "lock_wait_seconds", LOCK_WAIT_SECONDS)
    async with database_of(settings) as database, database.transaction() as session:
        assert await session.scalar(text("SELECT @@innodb_lock_wait_timeout")) <= 5
