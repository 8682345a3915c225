"""Requests without an access token share a part of the connections to MySQL."""

import asyncio
import hashlib

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.client_info import ClientInfo
from auth_service.database import ANONYMOUS_CONNECTIONS
from auth_service.limits.anonymous_database import AnonymousDatabase
from auth_service.main import database_of
from auth_service.settings import Settings
from service_kit.problems import ServiceUnavailable
from support.auth_app import RegisteredUser, client_of, lock_waits
from support.polling import eventually
from support.responses import bearer

# More than the 10 connections of a pool.
FLOOD = 15


def from_address(address: str) -> ClientInfo:
    return ClientInfo(address, "a test", "")


async def test_flood_of_unknown_names_leaves_connections_to_other_requests(
    app: FastAPI, registered: RegisteredUser, rows: AsyncEngine
) -> None:
    """All failed logins change one row. A transaction that waits for it holds a connection."""

    async def guess(number: int) -> httpx.Response:
        async with client_of(app, f"203.0.113.{number}") as client:
            return await client.post("/v1/login", json={"login": f"unknown_{number}", "password": "a guess"})

    assert (await guess(0)).status_code == 401
    async with rows.begin() as connection:
        budget = {"subject": hashlib.sha256(b"login-overall\0").digest()}
        locked = text("SELECT attempts FROM login_attempts WHERE subject = :subject FOR UPDATE")
        assert await connection.scalar(locked, budget) is not None
        flood = [asyncio.create_task(guess(number)) for number in range(1, FLOOD + 1)]
        await eventually(lambda: lock_waits(rows, "login_attempts"), lambda count: count == ANONYMOUS_CONNECTIONS)
        async with client_of(app) as client:
            change = {"name": "Countess"}
            answers = [
                await client.get("/v1/users/me", headers=bearer(registered)),
                await client.patch("/v1/users/me", json=change, headers=bearer(registered)),
            ]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert not any(task.done() for task in flood)
    assert {answer.status_code for answer in await asyncio.gather(*flood)} == {401}


async def test_client_with_fewer_requests_gets_the_next_connection(settings: Settings) -> None:
    attacker, other = from_address("203.0.113.5"), from_address("198.51.100.5")
    begun: list[str] = []
    async with database_of(settings) as database:
        anonymous = AnonymousDatabase(database, connections=1)

        async def use(client: ClientInfo) -> None:
            async with anonymous.transaction(client) as session:
                begun.append(client.address)
                await session.execute(text("SELECT 1"))

        async with anonymous.reading(attacker):
            waiting = [asyncio.create_task(use(client)) for client in (attacker, attacker, other)]
            await eventually(lambda: _waiting(anonymous), lambda count: count == len(waiting))
        await asyncio.gather(*waiting)
    assert begun == [other.address, attacker.address, attacker.address]


async def test_request_without_a_connection_in_time_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = from_address("203.0.113.5")
    async with database_of(settings) as database:
        anonymous = AnonymousDatabase(database, connections=1)
        with monkeypatch.context() as patch:
            patch.setattr("auth_service.database.TRANSACTION_SECONDS", 0.01)
            async with anonymous._queue.place("another network"):
                with pytest.raises(ServiceUnavailable):
                    async with anonymous.reading(client):
                        pass
        async with anonymous.reading(client) as session:
            assert await session.scalar(text("SELECT 1")) == 1
        assert len(anonymous._queue) == 0


async def _waiting(anonymous: AnonymousDatabase) -> int:
    return len(anonymous._queue) - 1
