"""Copies in a database that their route names."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import create_engine
from support.polling import eventually
from sync_service.apply.changes import Change
from sync_service.apply.ordering import Version, offset, topic_partition
from sync_service.debezium.positions import LogPosition
from sync_service.routes.config import Route
from sync_service.sinks.base import Sink
from sync_service.sinks.comparison_target import open_target
from sync_service.sinks.registry import CONNECTIONS_OF_A_ROUTE, Stores, change_schemas, observers
from sync_service.sinks.targets import Store

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    Client = AsyncIOMotorClient[dict[str, Any]]

KEY: dict[Store, dict[str, Any]] = {
    "mongodb": {"_id": {"from": "id", "type": "string"}},
    "mysql": {"id": {"from": "_id", "type": "string"}},
}


@pytest.fixture
def name() -> str:
    return f"copies_{secrets.token_hex(4)}"


@pytest.fixture
async def stores(mysql_root_url: str, schema_url: str, database_url: str, name: str) -> AsyncIterator[Stores]:
    """The account is root: it may create the schema."""
    stores = Stores(schema_url, database_url)
    yield stores
    await stores.mongo.drop_database(name)
    async with stores.engine.begin() as connection:
        await connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
    await stores.close()


def route_to(store: Store, database: str, name: str = "things") -> Route:
    target = {"store": store, "database": database, "collection" if store == "mongodb" else "table": name}
    fields = {"label": {"from": "name", "type": "string"}}
    topic = f"test.{database}_source.{name}"
    return Route.model_validate({"name": name, "topic": topic, "target": target, "key": KEY[store], "fields": fields})


async def write(sink: Sink, *keys: str, operation: str = "c") -> None:
    def version(number: int) -> Version:
        position = LogPosition("log", f"{number:05d}", number, number)
        return Version(topic_partition("7" * 32, 0), offset(number), position, operation)

    first = 1 if operation == "c" else 100
    values = None if operation == "d" else {"label": "chair"}
    written = await sink.write([Change((key,), values, version(number)) for number, key in enumerate(keys, first)])
    assert len(written.applied) == len(keys)


async def documents(client: "Client", database: str) -> dict[str, Any]:
    return {each["_id"]: each["label"] async for each in client[database]["things"].find()}


async def rows(engine: AsyncEngine, database: str) -> dict[str, Any]:
    async with engine.connect() as connection:
        return {row.id: row.label for row in await connection.execute(text(f"SELECT * FROM {database}.things"))}  # noqa: S608 - a name of this test


@pytest.mark.parametrize("store", ["mongodb", "mysql"])
async def test_copy_is_created_written_counted_and_compared_in_its_database(
    stores: Stores, schema_url: str, database_url: str, name: str, store: Store
) -> None:
    route = route_to(store, name)
    if store == "mysql":
        create, *_ = await change_schemas(schema_url, [route], apply=True)
        assert create.startswith(f"CREATE DATABASE `{name}`")
        assert await change_schemas(schema_url, [route], apply=True) == []
    sink = stores.sink(route)
    await sink.prepare()
    await write(sink, "a", "b", "c")
    await write(sink, "c", operation="d")
    await sink.purge()
    found = await (documents(stores.mongo, name) if store == "mongodb" else rows(stores.engine, name))
    assert found == {"a": "chair", "b": "chair"}

    seen_by = observers(schema_url, database_url)
    counted = seen_by[store].copy_table(route)
    assert (counted.name, await counted.rows.count()) == (f"{name}.things_copy", 2)
    for observer in seen_by.values():
        await observer.close()

    async with stores.engine.begin() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}_source"))
        await connection.execute(text(f"CREATE TABLE {name}_source.things (id CHAR(9) PRIMARY KEY, name CHAR(9))"))
    try:
        target = await open_target(route, stores.engine, stores.mongo)
        assert target.names[1] == f"{store} {name}.things_copy"
        assert (await target.copy.look_up([("a",)]))[("a",)].values is not None
    finally:
        async with stores.engine.begin() as connection:
            await connection.execute(text(f"DROP DATABASE {name}_source"))


async def test_table_moves_to_the_schema_that_its_route_names(stores: Stores, schema_url: str, name: str) -> None:
    moved = route_to("mysql", name)
    at_first = moved.model_copy(update={"target": moved.target.model_copy(update={"database": None})})
    await change_schemas(schema_url, [at_first], apply=True)
    await write(stores.sink(at_first), "a", "b")
    await write(stores.sink(at_first), "b", operation="d")
    assert await change_schemas(schema_url, [at_first], apply=False) == []

    statements = await change_schemas(schema_url, [moved], apply=True)
    schema = stores.engine.url.database
    rename = f"RENAME TABLE `{schema}`.`things_copy` TO `{name}`.`things_copy`"
    assert statements[1:3] == [f"DROP VIEW `{schema}`.`things`", rename]
    assert await change_schemas(schema_url, [moved], apply=True) == []
    assert await rows(stores.engine, name) == {"a": "chair"}
    # With its versions and tombstones: the events are redelivered in vain.
    with pytest.raises(AssertionError):
        await write(stores.sink(moved), "a", "b")
    assert await rows(stores.engine, name) == {"a": "chair"}


async def test_table_that_is_no_copy_stays_when_a_route_names_another_schema(
    stores: Stores, schema_url: str, name: str
) -> None:
    async with stores.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE things_copy (id INT PRIMARY KEY)"))
    try:
        statements = await change_schemas(schema_url, [route_to("mysql", name)], apply=True)
        assert [statement.partition(" (")[0] for statement in statements][1] == f"CREATE TABLE `{name}`.`things_copy`"
    finally:
        async with stores.engine.begin() as connection:
            await connection.execute(text("DROP TABLE things_copy"))


async def test_locked_table_of_a_route_takes_no_connection_from_the_others(
    stores: Stores, mysql_root_url: str, schema_url: str, name: str
) -> None:
    locked = route_to("mysql", name)
    other = route_to("mysql", name, "others")
    await change_schemas(schema_url, [locked, other], apply=True)
    root = create_engine(mysql_root_url)

    async def waiting() -> int:
        query = "SELECT COUNT(*) FROM performance_schema.processlist WHERE state LIKE 'Waiting for table%'"
        async with stores.engine.connect() as connection:
            return int(await connection.scalar(text(query)) or 0)

    async with root.connect() as lock:
        await lock.execute(text(f"LOCK TABLES {name}.things_copy WRITE"))
        writes = [asyncio.create_task(write(stores.sink(locked), str(number))) for number in range(24)]
        try:
            await eventually(waiting, lambda count: count >= CONNECTIONS_OF_A_ROUTE)
            await write(stores.sink(other), "1")
        finally:
            await lock.execute(text("UNLOCK TABLES"))
            done = await asyncio.gather(*writes, return_exceptions=True)
    await root.dispose()
    assert sum(error is None for error in done) >= CONNECTIONS_OF_A_ROUTE
