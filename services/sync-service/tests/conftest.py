"""Copies in real databases, for these tests only."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded_stack import Stack
from service_kit.mysql import create_engine, migrate
from service_kit.retry import Backoff
from support.built_in_routes import built_in_declarations, built_in_routes
from support.jwt_issuer import Issuer, serving_issuer
from support.stored_copies import StoredCopy, StoredMongoCopy, StoredMysqlCopy, empty_copy
from support.sync_harness import SyncHarness, sync_harness
from support.sync_process import SyncProcess, sync_process
from sync_service.routes.config import Route
from sync_service.settings import Settings
from sync_service.sinks.mongodb.sink import MongoSink
from sync_service.sinks.mysql.schema import change_tables, migrations_folder
from sync_service.sinks.mysql.sink import MysqlSink, engine_for_sinks

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]


@pytest.fixture(scope="session")
async def schema_url(mysql_root_url: str) -> AsyncIterator[str]:
    """A schema with the copies in MySQL."""
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
    engine = engine_for_sinks(schema_url, pool_size=10)
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
    return built_in_routes()


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


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    with serving_issuer() as issuer:
        yield issuer


@pytest.fixture
async def copies_urls(
    schema_url: str, database_url: str, kafka_bootstrap_servers: str, engine: AsyncEngine, database: "Database"
) -> AsyncIterator[dict[str, str]]:
    """The addresses of `engine`, `database` and the broker. The copies are empty before and after a test."""
    await empty_copy(engine)
    yield {
        "MYSQL_URL": schema_url,
        "MONGODB_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
    }
    await empty_copy(engine)


@pytest.fixture
async def sync(stack: Stack, issuer: Issuer, tmp_path: Path, copies_urls: dict[str, str]) -> AsyncIterator[SyncProcess]:
    """A sync-service that is not started yet."""
    declared = built_in_declarations()
    async with sync_process(
        stack, issuer, tmp_path, urls=copies_urls, routes=[declared["users"], declared["tweets"]]
    ) as sync:
        yield sync


@pytest.fixture(params=["mysql", "mongodb"])
async def copy(
    request: pytest.FixtureRequest,
    mysql_sink: MysqlSink,
    mongo_sink: MongoSink,
    engine: AsyncEngine,
    database: "Database",
) -> StoredCopy:
    if request.param == "mongodb":
        return StoredMongoCopy(mongo_sink, database)
    await empty_copy(engine)
    return StoredMysqlCopy(mysql_sink, engine)


@pytest.fixture(params=["mysql", "mongodb"])
async def keeping_copy(
    request: pytest.FixtureRequest,
    routes: dict[str, Route],
    engine: AsyncEngine,
    schema_url: str,
    database: "Database",
) -> AsyncIterator[StoredCopy]:
    """A copy with `deletes: keep-row`."""
    changed = {"deletes": "keep-row", "tombstones": "purge"}
    keeping = {name: route.model_copy(update=changed) for name, route in routes.items()}
    if request.param == "mongodb":
        sink = MongoSink(database, keeping["users"])
        await sink.prepare()
        yield StoredMongoCopy(sink, database)
        return
    target = keeping["tweets"].target.model_copy(update={"table": "kept"})
    route = keeping["tweets"].model_copy(update={"target": target})
    await change_tables(schema_url, [route], apply=True)
    mysql = MysqlSink(engine, route)
    await mysql.prepare()
    yield StoredMysqlCopy(mysql, engine, "kept")
    async with engine.begin() as connection:
        await connection.execute(text("DROP VIEW kept"))
        await connection.execute(text("DROP TABLE kept_copy"))


@pytest.fixture
def settings(kafka_bootstrap_servers: str, schema_url: str, database_url: str) -> Settings:
    """Settings with a consumer group for this test. No test with them needs a token."""
    return Settings(
        mysql_url=schema_url,
        mongodb_url=database_url,
        kafka_bootstrap_servers=kafka_bootstrap_servers,
        auth_jwks_url="http://127.0.0.1:1/jwks.json",
        sync_group_id=f"test-{secrets.token_hex(4)}",
        sync_session_timeout_ms=6000,
    )


@pytest.fixture
def frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync in the process of the test notices within a second what it notices within five, or thirty, otherwise."""
    for name, value in {
        "runner.GAPS_SECONDS": 0.5,
        "runner.SOURCES_SECONDS": 0.5,
        "runner.STOPS_SECONDS": 0.3,
        "kafka.group.TOPICS_CHECK_SECONDS": 0.5,
        "kafka.group.METADATA_MAX_AGE_MS": 1000,
        "kafka.group.BACKOFF": Backoff(initial=0.1, maximum=1.0),
    }.items():
        monkeypatch.setattr(f"sync_service.{name}", value)


@pytest.fixture
async def harness(
    settings: Settings, engine: AsyncEngine, routes: dict[str, Route], frequent_checks: None
) -> AsyncIterator[SyncHarness]:
    async with sync_harness(settings, routes, engine) as harness:
        yield harness
