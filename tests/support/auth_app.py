"""auth-service in a test's process: its clock, clients, users and mails."""

import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI
from jose import jwt
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.main import create_app
from auth_service.settings import Settings
from support.polling import eventually
from support.responses import bearer

Form = dict[str, Any]
NewForm = Callable[[], Form]


# A change of settings: passwords are hashed as by default, and not faster as in other tests.
DEFAULT_HASHING = {"auth_argon2_memory_kib": Settings.model_fields["auth_argon2_memory_kib"].default}

RegisteredUser = dict[str, Any]
Register = Callable[..., Awaitable[RegisteredUser]]


class AdjustableClock:
    """The real time plus an offset, or a frozen time plus an offset."""

    def __init__(self) -> None:
        self.offset = timedelta(0)
        self._frozen_at: datetime | None = None

    def __call__(self) -> datetime:
        return (self._frozen_at or datetime.now(UTC)) + self.offset

    def reset(self) -> None:
        self.offset = timedelta(0)
        self._frozen_at = None

    def freeze(self) -> None:
        """Stop the clock. Only `advance` moves it."""
        self._frozen_at = datetime.now(UTC)

    def advance(self, **duration: float) -> None:
        self.offset += timedelta(**duration)


@asynccontextmanager
async def own_schema(engine: AsyncEngine, mysql_root_url: str) -> AsyncIterator[str]:
    name = f"auth_test_{secrets.token_hex(4)}"
    async with engine.begin() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    yield mysql_root_url + name
    async with engine.begin() as connection:
        await connection.execute(text(f"DROP DATABASE {name}"))


@asynccontextmanager
async def client_of(app: FastAPI, address: str = "192.0.2.77", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 50000))
    base = "http://auth.test"
    async with httpx.AsyncClient(transport=transport, base_url=base, timeout=30, headers=headers) as client:
        yield client


@asynccontextmanager
async def running_app(
    settings: Settings, clock: AdjustableClock | None = None, **changed: Any
) -> AsyncIterator[FastAPI]:
    """Another replica of the service, with some changed settings."""
    app = create_app(settings.model_copy(update=changed), clock or AdjustableClock())
    async with app.router.lifespan_context(app):
        yield app


async def sign_up(app: FastAPI, username: str) -> RegisteredUser:
    password = "correct horse battery staple"
    form = {"username": username, "email": f"{username}@example.com", "name": username}
    async with client_of(app) as client:
        answer = await client.post("/v1/register", json={**form, "password": password, "password_confirm": password})
    user: RegisteredUser = answer.json()
    return user


async def log_in(client: httpx.AsyncClient, user: RegisteredUser, **more: Any) -> dict[str, Any]:
    """Tokens of a new session of a registered user."""
    form = user["form"]
    answer = await client.post("/v1/login", json={"login": form["username"], "password": form["password"], **more})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


def confirmed(user: RegisteredUser, **body: Any) -> dict[str, Any]:
    """The body of a sensitive action of this user."""
    return {**body, "current_password": user["form"]["password"]}


def kid_of(tokens: dict[str, Any]) -> str:
    """The id of the key that signed an access token."""
    return str(jwt.get_unverified_header(tokens["access_token"])["kid"])


async def events_of(client: httpx.AsyncClient, admin: RegisteredUser, **filters: str) -> list[dict[str, Any]]:
    """Events of the audit trail, newest first."""
    answer = await client.get("/v1/audit", params={"limit": 100, **filters}, headers=bearer(admin))
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def lock_waits(rows: AsyncEngine, table: str) -> int:
    """How many transactions wait for a row of this table of the connection's schema."""
    waiting = text(
        "SELECT COUNT(*) FROM performance_schema.data_locks"
        " WHERE object_schema = DATABASE() AND object_name = :table AND lock_status = 'WAITING'"
    )
    async with rows.connect() as connection:
        return int(await connection.scalar(waiting, {"table": table}) or 0)


async def fail_lock_waits(rows: AsyncEngine, table: str) -> None:
    """Let the statements that `lock_waits` counts fail now, as they would when they have waited too long."""
    waiting = text(
        "SELECT processlist_id FROM performance_schema.threads JOIN performance_schema.data_locks USING (thread_id)"
        " WHERE object_schema = DATABASE() AND object_name = :table AND lock_status = 'WAITING'"
    )
    async with rows.connect() as connection:
        for waiter in (await connection.scalars(waiting, {"table": table})).all():
            await connection.execute(text(f"KILL QUERY {waiter}"))


class Mailbox:
    """Mails that arrived at the mail sink."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def subjects(self, recipient: str) -> list[str]:
        """Newest first."""
        return [each["Subject"] for each in await self._summaries(recipient)]

    async def text(self, recipient: str, subject: str) -> str:
        """Wait for a mail with this in its subject. Returns the text of the newest."""

        async def arrived() -> str:
            for each in await self._summaries(recipient):
                if subject in each["Subject"]:
                    body: str = (await self._client.get(f"/api/v1/message/{each['ID']}")).json()["Text"]
                    return body
            return ""

        return await eventually(arrived)

    async def token(self, recipient: str, subject: str) -> str:
        """The token in that mail."""
        found = re.search(r"token=([A-Za-z0-9_-]{43})", await self.text(recipient, subject))
        assert found is not None
        return found[1]

    async def _summaries(self, recipient: str) -> list[dict[str, Any]]:
        answer = await self._client.get("/api/v1/search", params={"query": f"to:{recipient}"})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["messages"]
        return found
