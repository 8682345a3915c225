"""Requests with an access token share a part of the connections to MySQL, and those of one account a part of that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.client_info import ClientInfo
from auth_service.database import (
    CALLER_CONNECTIONS,
    CONNECTIONS_PER_ACCOUNT,
    Database,
    Requester,
    set_requester,
)
from auth_service.limits.anonymous_database import AnonymousDatabase
from auth_service.main import database_of
from auth_service.settings import Settings
from support.auth_app import Register, RegisteredUser, client_of, lock_waits, log_in
from support.polling import eventually
from support.responses import bearer

# More than the 10 connections of a pool.
FLOOD = 15


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with database_of(settings) as database:
        yield database


async def waiting(database: Database) -> int:
    """How many operations with a token are open or wait."""
    return len(database._callers)


async def test_writes_of_one_account_leave_connections_to_others(
    app: FastAPI, registered: RegisteredUser, register: Register, rows: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them locks the account's row, before the limit of changes can refuse it."""
    monkeypatch.setattr("auth_service.database.TRANSACTION_SECONDS", 30)
    other = await register()

    async with client_of(app) as client:

        async def rename(user: RegisteredUser, name: str) -> httpx.Response:
            return await client.patch("/v1/users/me", json={"name": name}, headers=bearer(user))

        async with rows.begin() as connection:
            locked = text("SELECT id FROM users WHERE id = :id FOR UPDATE")
            assert await connection.scalar(locked, {"id": registered["user"]["id"]}) is not None
            flood = [asyncio.create_task(rename(registered, f"Ada {number}")) for number in range(FLOOD)]
            flood += [
                asyncio.create_task(client.post("/v1/logout-all", headers=bearer(registered))) for _ in range(FLOOD)
            ]
            await eventually(lambda: lock_waits(rows, "users"), lambda count: count == CONNECTIONS_PER_ACCOUNT)
            login = {"login": other["form"]["username"], "password": other["form"]["password"]}
            answers = [await rename(other, "Countess"), await client.post("/v1/login", json=login)]
            assert [answer.status_code for answer in answers] == [200, 200]
            assert await lock_waits(rows, "users") == CONNECTIONS_PER_ACCOUNT
            assert not any(task.done() for task in flood)
        statuses = {answer.status_code for answer in await asyncio.gather(*flood)}
    assert statuses <= {200, 204, 401, 429}
    assert registered["user"]["id"] not in app.state.database._accounts


@pytest.mark.parametrize("thief", ["another session in the same network", "the same session in another network"])
async def test_owner_goes_before_a_flood_with_a_stolen_token(
    app: FastAPI, registered: RegisteredUser, rows: AsyncEngine, monkeypatch: pytest.MonkeyPatch, thief: str
) -> None:
    monkeypatch.setattr("auth_service.database.TRANSACTION_SECONDS", 30)
    account, ended = registered["user"]["id"], list[str]()
    is_same_session = thief.startswith("the same session")
    network = "203.0.113.9" if is_same_session else "192.0.2.77"

    async def open_operations() -> int:
        return len(app.state.database._accounts.get(account, ()))

    async with client_of(app) as owners, client_of(app, network) as thiefs:
        tokens = registered if is_same_session else await log_in(owners, registered)

        async def rename(client: httpx.AsyncClient, tokens: RegisteredUser, name: str) -> None:
            await client.patch("/v1/users/me", json={"name": name}, headers=bearer(tokens))
            ended.append(name)

        async with rows.begin() as connection:
            locked = text("SELECT id FROM users WHERE id = :id FOR UPDATE")
            assert await connection.scalar(locked, {"id": account}) is not None
            flood = [asyncio.create_task(rename(thiefs, registered, f"Ada {number}")) for number in range(FLOOD)]
            await eventually(open_operations, lambda count: count == FLOOD)
            owner = asyncio.create_task(rename(owners, tokens, "Countess"))
            await eventually(open_operations, lambda count: count == FLOOD + 1)
        await asyncio.gather(owner, *flood)
    assert ended.index("Countess") < FLOOD / 2


async def test_read_with_a_token_waits_for_the_others_of_its_account(
    app: FastAPI, registered: RegisteredUser, register: Register
) -> None:
    other, account = await register(), registered["user"]["id"]

    async def open_operations() -> int:
        return len(app.state.database._accounts[account])

    async with client_of(app) as client, AsyncExitStack() as held:
        for _ in range(CONNECTIONS_PER_ACCOUNT):
            await held.enter_async_context(app.state.database.reading(account))
        read = asyncio.create_task(client.get("/v1/users/me", headers=bearer(registered)))
        await eventually(open_operations, lambda count: count == CONNECTIONS_PER_ACCOUNT + 1)
        assert (await client.get("/v1/users/me", headers=bearer(other))).status_code == 200
        assert not read.done()
        await held.aclose()
        assert (await read).status_code == 200


async def test_callers_of_many_accounts_leave_connections_to_logins_and_to_the_service_itself(
    database: Database,
) -> None:
    anonymous, begun = AnonymousDatabase(database), list[str]()
    async with AsyncExitStack() as held:
        for number in range(CALLER_CONNECTIONS):
            session = await held.enter_async_context(database.transaction(f"account {number}"))
            await session.execute(text("SELECT 1"))
        one_more = asyncio.create_task(use(database, "one more", begun))
        await eventually(lambda: waiting(database), lambda count: count == CALLER_CONNECTIONS + 1)
        async with database.transaction() as session:
            assert await session.scalar(text("SELECT 1")) == 1
        async with anonymous.transaction(ClientInfo("198.51.100.5", "a test", "")) as session:
            assert await session.scalar(text("SELECT 1")) == 1
        assert not begun
        await held.aclose()
        await one_more
    assert begun == ["one more"]


async def test_network_with_fewer_operations_gets_the_next_connection(database: Database) -> None:
    begun: list[str] = []
    async with AsyncExitStack() as held:
        for number in range(CALLER_CONNECTIONS):
            await held.enter_async_context(database.reading(f"account {number}"))
        tasks = []
        for account, network in (("first", "203.0.113.5"), ("second", "203.0.113.5"), ("other", "198.51.100.5")):
            set_requester(Requester("a session", network))
            tasks.append(asyncio.create_task(use(database, account, begun)))
        await eventually(lambda: waiting(database), lambda count: count == CALLER_CONNECTIONS + len(tasks))
        await held.aclose()
    await asyncio.gather(*tasks)
    assert begun.index("other") < begun.index("second")


async def use(database: Database, account: str, begun: list[str]) -> None:
    async with database.transaction(account) as session:
        begun.append(account)
        await session.execute(text("SELECT 1"))
