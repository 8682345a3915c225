"""Copies of the tests' own, in real databases."""

import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import create_engine, migrate
from sync_service.consumer.operation import migrations_folder
from sync_service.routes.loading import default_routes_file, load_routes
from sync_service.routes.models import Route
from sync_service.sinks.mongo import MongoSink
from sync_service.sinks.mysql import MysqlSink

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]


@pytest.fixture(scope="session")
async def schema_url(mysql_root_url: str) -> AsyncIterator[str]:
    """A schema with the copies of MySQL in it."""
    name = f"sync_test_{secrets.token_hex(4)}"
    engine = create_engine(mysql_root_url)
    async with engine.begin() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await migrate(mysql_root_url + name, migrations_folder())
    yield mysql_root_url + name
    async with engine.begin() as connection:
        await connection.execute(text(f"DROP DATABASE {name}"))
    await engine.dispose()


@pytest.fixture(scope="session")
def database_url(mongodb_url: str) -> str:
    return mongodb_url.replace("/?", f"/sync_test_{secrets.token_hex(4)}?")


@pytest.fixture
async def engine(schema_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(schema_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def database(database_url: str) -> "AsyncIterator[Database]":
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(database_url, tz_aware=True)
    database = client.get_default_database()
    yield database
    await client.drop_database(database.name)
    client.close()


@pytest.fixture(scope="session")
def routes() -> dict[str, Route]:
    return {route.name: route for route in load_routes(default_routes_file())}


@pytest.fixture
async def mysql_sink(engine: AsyncEngine, routes: dict[str, Route]) -> MysqlSink:
    sink = MysqlSink(engine, routes["tweets"])
    await sink.prepare()
    return sink


@pytest.fixture
async def mongo_sink(database: "Database", routes: dict[str, Route]) -> MongoSink:
    sink = MongoSink(database, routes["users"])
    await sink.prepare()
    return sink
