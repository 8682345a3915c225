"""The service in this process, on a real MongoDB, with a token issuer of the tests."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from support.jwt_issuer import AUDIENCE, ISSUER, Issuer, serving_issuer
from support.tweet_app import Documents, OwnDatabase, own_database
from tweet_service.main import create_app
from tweet_service.settings import Settings


class AdjustableClock:
    """The real time in seconds since the epoch, plus an offset that tests set."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset

    def forward(self, seconds: float) -> None:
        self.offset += seconds


_clock = AdjustableClock()


@pytest.fixture
def clock() -> Iterator[AdjustableClock]:
    """The clock of the application. Its offset is removed after the test."""
    yield _clock
    _clock.offset = 0.0


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    with serving_issuer() as issuer:
        yield issuer


@pytest.fixture(scope="session")
def service_database(mongodb_url: str) -> Iterator[OwnDatabase]:
    with own_database(mongodb_url) as own:
        yield own


@pytest.fixture(scope="session")
def database_url(service_database: OwnDatabase) -> str:
    return service_database.url


@pytest.fixture(scope="session")
def settings(service_database: OwnDatabase, issuer: Issuer) -> Settings:
    return Settings(
        mongodb_url=service_database.url,  # type: ignore[arg-type]  # pydantic converts
        # One database for all of a test.
        tweet_users_database=service_database.documents.name,
        auth_jwks_url=issuer.url,  # type: ignore[arg-type]  # pydantic converts
        auth_issuer=ISSUER,
        auth_audience=AUDIENCE,
    )


@pytest.fixture(scope="session")
def documents(service_database: OwnDatabase) -> Documents:
    """The database of the service, accessed directly."""
    return service_database.documents


@pytest.fixture
def leave_tombstone(documents: Documents) -> Callable[[str], None]:
    """Replaces a user by a tombstone, as sync-service does for a delete event."""

    def leave_tombstone(user_id: str) -> None:
        tombstone = {"_id": user_id, "_sync": {"operation": "d", "deleted_at": datetime.now(UTC)}}
        documents["users_copy"].replace_one({"_id": user_id}, tombstone, upsert=True)

    return leave_tombstone


@pytest.fixture(scope="session")
async def app(settings: Settings, documents: Documents) -> AsyncIterator[FastAPI]:
    app = create_app(settings, _clock)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://tweets.test") as client:
        yield client


MakeClient = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def make_client(app: FastAPI, issuer: Issuer, documents: Documents) -> AsyncIterator[MakeClient]:
    """Creates users: clients with their own token. `arrived` ones are in the copy, and can be found by name."""
    clients = []

    def make(username: str | None = None, *, arrived: bool = True, **claims: Any) -> httpx.AsyncClient:
        username = username or f"p_{secrets.token_hex(5)}"
        user_id = f"u-{username}"
        if arrived:
            live = {"operation": "c", "deleted_at": None}
            user = {"_id": user_id, "username": username, "name": username.title(), "is_active": True, "_sync": live}
            documents["users_copy"].replace_one({"_id": user_id}, user, upsert=True)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://tweets.test",
            headers={"Authorization": f"Bearer {issuer.token(sub=user_id, username=username, **claims)}"},
            params={},
        )
        client.username, client.user_id = username, user_id  # type: ignore[attr-defined]  # for the tests to read
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
async def ada(anonymous: httpx.AsyncClient, issuer: Issuer) -> httpx.AsyncClient:
    """A caller who has not arrived in the copy, with a unique id."""
    anonymous.headers["Authorization"] = f"Bearer {issuer.token(sub=f'u-{secrets.token_hex(6)}')}"
    return anonymous
