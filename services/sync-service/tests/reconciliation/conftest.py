"""A source, its copy and its topic for each direction."""

import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import create_engine
from support.built_in_routes import built_in_declarations
from support.comparison_harness import PARTITIONS, ComparisonHarness, Direction, Tweets, Users
from support.stored_copies import empty_copy
from support.topics import create_topics
from sync_service.routes.config import Route
from sync_service.settings import Settings
from sync_service.sinks.comparison_target import open_target
from sync_service.sinks.registry import change_schemas


@pytest.fixture(scope="session")
async def source_schema(mysql_root_url: str) -> AsyncIterator[str]:
    """A schema with a table of users, like auth-service's."""
    name = f"auth_{secrets.token_hex(4)}"
    engine = create_engine(mysql_root_url)
    async with engine.begin() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
        await connection.execute(
            text(
                f"CREATE TABLE {name}.users (id VARCHAR(36) COLLATE ascii_bin PRIMARY KEY, username VARCHAR(30), "
                "name VARCHAR(90), email VARCHAR(254), role VARCHAR(20) COLLATE ascii_bin, is_active TINYINT(1), "
                "tokens_valid_after DATETIME(6), ended_sessions VARCHAR(4000), created_at DATETIME(6), "
                "updated_at DATETIME(6))"
            )
        )
    yield name
    async with engine.begin() as connection:
        await connection.execute(text(f"DROP DATABASE {name}"))
    await engine.dispose()


def declared(name: str, topic: str, options: Mapping[str, Mapping[str, Any]]) -> Route:
    return Route.model_validate(
        {**built_in_declarations()[name], "name": name, "topic": topic, **options.get(name, {})}
    )


@pytest.fixture
def route_options() -> Mapping[str, Mapping[str, Any]]:
    """What a route declares in addition. Tests parametrize it."""
    return {}


@pytest.fixture(params=["users", "tweets"])
async def comparison(
    request: pytest.FixtureRequest,
    settings: Settings,
    engine: AsyncEngine,
    source_schema: str,
    route_options: Mapping[str, Mapping[str, Any]],
) -> AsyncIterator[ComparisonHarness]:
    database_url, kafka_bootstrap_servers = settings.mongodb_url.get_secret_value(), settings.kafka_bootstrap_servers
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(database_url, tz_aware=True)
    database = client.get_default_database()
    suffix = secrets.token_hex(4)
    direction: Direction
    if request.param == "users":
        route = declared("users", f"test.{suffix}.{source_schema}.users", route_options)
        direction = Users(route, engine, source_schema, database)
    else:
        source = client[f"source_{suffix}"]["tweets"]
        route = declared("tweets", f"test.source_{suffix}.tweets", route_options)
        direction = Tweets(route, engine, source)
    await create_topics(kafka_bootstrap_servers, route.topic, partitions=PARTITIONS)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap_servers)
    await producer.start()
    await change_schemas(settings.mysql_url.get_secret_value(), [route], apply=True)
    target = await open_target(route, engine, client)
    await target.sink.prepare()
    comparison = ComparisonHarness(direction, target, settings, producer)
    yield comparison
    for runner, task in comparison.running:
        runner.stop()
        await task
    await producer.stop()
    await direction.clear()
    await client.drop_database(database.name)
    await client.drop_database(f"source_{suffix}")
    client.close()
    await empty_copy(engine)
