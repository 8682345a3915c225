"""The service in this process, on a schema of its own in a real MySQL."""

import itertools
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.main import create_app, prepare
from auth_service.settings import Settings
from service_kit.mysql import create_engine

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session")
async def engine(mysql_root_url: str) -> AsyncIterator[AsyncEngine]:
    """The database behind the service's back, as root."""
    engine = create_engine(mysql_root_url)
    yield engine
    await engine.dispose()


@asynccontextmanager
async def own_schema(engine: AsyncEngine, mysql_root_url: str) -> AsyncIterator[str]:
    name = f"auth_test_{secrets.token_hex(4)}"
    async with engine.begin() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    yield mysql_root_url + name
    async with engine.begin() as connection:
        await connection.execute(text(f"DROP DATABASE {name}"))


@pytest.fixture
async def empty_schema(engine: AsyncEngine, mysql_root_url: str) -> AsyncIterator[str]:
    async with own_schema(engine, mysql_root_url) as url:
        yield url


@pytest.fixture(scope="session")
async def settings(engine: AsyncEngine, mysql_root_url: str) -> AsyncIterator[Settings]:
    async with own_schema(engine, mysql_root_url) as url:
        settings = Settings(mysql_url=SecretStr(url), auth_issuer="http://issuer.test/api/auth")
        await prepare(settings)
        yield settings


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://auth.test", timeout=30) as client:
        yield client


@pytest.fixture
async def rows(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(settings.mysql_url.get_secret_value())
    yield engine
    await engine.dispose()


_numbers = itertools.count(1)


@pytest.fixture
def form() -> dict[str, Any]:
    """A registration that nobody has sent before."""
    number = next(_numbers)
    return {
        "username": f"ada_{number}",
        "email": f"ada{number}@example.com",
        "name": "Ada Lovelace",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
    }


@pytest.fixture
async def registered(client: httpx.AsyncClient, form: dict[str, Any]) -> dict[str, Any]:
    """Somebody with an account, as the answer to the registration has it."""
    answer = await client.post("/v1/register", json=form)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body
