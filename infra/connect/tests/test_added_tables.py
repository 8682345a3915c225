"""Connectors capture more while they run, with rows that are older, and without a new snapshot of other tables."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka.errors import UnknownTopicOrPartitionError
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from embedded_stack import Stack
from embedded_stack.components.services import registrar_environment
from registrar.declared import DeclaredFile, load_declared
from registrar.main import create_app
from registrar.settings import Settings
from registrar.snapshots import SnapshotLog
from service_kit.kafka import KafkaClients
from service_kit.mysql import create_engine
from support.commands import run_command
from support.polling import eventually
from support.records import read_records
from support.replicas import Replica, running_processes

# As the connectors of the last release had it.
OLD_HISTORY = "schema.history.internal.store.only.captured.tables.ddl"


@dataclass
class Shop:
    """A source of its own, with routes in a file that a registrar follows."""

    stack: Stack
    file: Path
    kind: str
    name: str = field(default_factory=lambda: f"shop{secrets.token_hex(4)}")
    routes: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)

    def declare(self, *routes: str, **options: str) -> None:
        self.routes += routes
        database = f", database: {self.name}" if self.kind == "mongodb" else ""
        source = f"{{kind: {self.kind}, partitions: 1, options: {json.dumps(options)}{database}}}"
        lines = [f"sources:\n  {self.name}: {source}\n"]
        for table in self.routes:
            target = "mongodb, collection: " if self.kind == "mysql" else "mysql, table: "
            key = "_id: {from: id, type: integer}" if self.kind == "mysql" else "id: {from: _id, type: integer}"
            lines.append(
                f"{table}:\n  topic: cdc.{self.name}.{self.name}.{table}\n  target: {{store: {target}{table}, "
                f"database: {self.name}_copy}}\n  key: {{{key}}}\n  fields: {{size: string}}\n"
            )
        self.file.write_text("".join(lines))

    async def add(self, collection: str) -> None:
        """By `sync-service routes add`, into a database named after the source."""
        addresses = self.stack.addresses
        code, _, errors = await run_command(
            "sync-service",
            *("routes", "add", f"mongodb:{self.name}.{collection}", "--apply", "--granted"),
            MYSQL_URL=f"{addresses['MYSQL_ROOT_URL']}{self.name}_sync",
            MYSQL_ROOT_URL=addresses["MYSQL_ROOT_URL"],
            MONGODB_URL=addresses["MONGODB_URL"],
            SYNC_ROUTES_FILE=str(self.file),
        )
        assert code == 0, errors

    def undeclare(self) -> None:
        """Another source stays, whose connector waits for a table that does not exist."""
        self.file.write_text(
            f"sources:\n  {self.name}-other: {{kind: mysql}}\n"
            f"other:\n  topic: cdc.{self.name}-other.{self.name}.absent\n"
            f"  target: {{store: mongodb, collection: absent, database: {self.name}_copy}}\n"
            "  key: {_id: {from: id, type: integer}}\n  fields: {size: string}\n"
        )

    async def config(self) -> dict[str, dict[str, str]]:
        async with httpx.AsyncClient(base_url=self.stack.addresses["CONNECT_URL"]) as connect:
            found: dict[str, dict[str, str]] = (await connect.get(f"/connectors/{self.name}")).json()
            return found

    async def is_registered(self) -> bool:
        async with httpx.AsyncClient(base_url=self.stack.addresses["CONNECT_URL"]) as connect:
            return self.name in (await connect.get("/connectors")).json()

    async def events(self, table: str) -> list[dict[str, Any]]:
        topic = f"cdc.{self.name}.{self.name}.{table}"
        try:
            records = await read_records(self.stack.addresses["KAFKA_BOOTSTRAP_SERVERS"], topic, 0)
        except UnknownTopicOrPartitionError:
            return []
        return [json.loads(record.value) for record in records if record.value]

    async def requests(self) -> list[str]:
        """The ids of the requests for rows."""
        bootstrap = self.stack.addresses["KAFKA_BOOTSTRAP_SERVERS"]
        records = await read_records(bootstrap, f"cdc.{self.name}.signals", 0)
        return [json.loads(record.value)["id"] for record in records if record.key == b"tandem"]

    async def snapshot_rows(self, table: str) -> int:
        return [event["op"] for event in await self.events(table)].count("r")

    async def rows(self, table: str) -> dict[int, str]:
        """What a copy would have."""
        found = {}
        for event in await self.events(table):
            after = event["after"]
            row = json.loads(after) if isinstance(after, str) else after
            found[row.get("id", row.get("_id"))] = row["size"]
        return found

    async def is_running(self, tables: list[str]) -> bool:
        async with httpx.AsyncClient(base_url=self.stack.addresses["CONNECT_URL"]) as connect:
            config = await connect.get(f"/connectors/{self.name}/config")
            status = (await connect.get(f"/connectors/{self.name}/status")).json()
        listed = config.json().get("table.include.list") or config.json().get("collection.include.list") or ""
        wanted = ",".join(f"{self.name}.{table}" for table in tables)
        return listed == wanted and [task["state"] for task in status.get("tasks", ())] == ["RUNNING"]


@asynccontextmanager
async def following(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    """A registrar that follows the file of the shop. Its connector is deleted at the end."""
    async with deleting_connector(shop), registrar_of(shop) as client:
        yield client


@asynccontextmanager
async def deleting_connector(shop: Shop) -> AsyncIterator[None]:
    yield
    async with httpx.AsyncClient(base_url=shop.stack.addresses["CONNECT_URL"], timeout=20) as connect:
        await connect.delete(f"/connectors/{shop.name}")


@asynccontextmanager
async def registrar_of(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    environment = registrar_environment(shop.stack.components["registrar"].environment)
    settings = Settings(
        kafka_bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"],
        connect_url=environment["CONNECT_URL"],
        sync_routes_file=shop.file,
        registrar_poll_seconds=0.2,
        # Of the same Kafka Connect as the registrar of the stack.
        registrar_name=shop.name,
    )
    routes, declared = DeclaredFile(settings, environment), load_declared(settings, environment)
    app = create_app(settings, declared.connectors, declared.topics, routes)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registrar") as client,
    ):
        yield client


async def checks(client: httpx.AsyncClient) -> dict[str, str]:
    found: dict[str, str] = (await client.get("/readyz")).json()["checks"]
    return found


async def is_reloaded(sync: Replica, route: str) -> None:
    async def routes() -> list[str]:
        return [each["name"] for each in (await sync.client.get("/v1/status")).json()["routes"]]

    await eventually(routes, lambda names: route in names)


@pytest.fixture
def started(stack: Stack) -> Stack:
    stack.start("mysql", "mongo", "kafka", "connect")
    return stack


@pytest.fixture
async def mysql_root(started: Stack) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(started.addresses["MYSQL_ROOT_URL"])
    yield engine
    await engine.dispose()


@pytest.fixture
def mongo(started: Stack) -> "Iterator[AsyncIOMotorClient[dict[str, Any]]]":
    client = AsyncIOMotorClient[dict[str, Any]](started.addresses["MONGODB_URL"])
    yield client
    client.close()


@pytest.fixture
async def mysql_shop(started: Stack, mysql_root: AsyncEngine, tmp_path: Path) -> AsyncIterator[Shop]:
    """Its database and the rights on it are gone after the test: other tests look at those of Debezium's account."""
    shop = Shop(started, tmp_path / "routes.yaml", "mysql")
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"CREATE DATABASE {shop.name}"))
    yield shop
    async with mysql_root.begin() as connection:
        granted = text("SELECT table_name FROM mysql.tables_priv WHERE db = :name AND user = 'debezium'")
        for place in ["*", *await connection.scalars(granted, {"name": shop.name})]:
            await connection.execute(text(f"REVOKE IF EXISTS SELECT ON {shop.name}.{place} FROM 'debezium'@'%'"))  # noqa: S608 - ours
        await connection.execute(text(f"DROP DATABASE {shop.name}"))


@pytest.fixture
async def mongodb_shop(
    started: Stack, mongo: "AsyncIOMotorClient[dict[str, Any]]", tmp_path: Path
) -> AsyncIterator[Shop]:
    shop = Shop(started, tmp_path / "routes.yaml", "mongodb")
    yield shop
    await mongo.drop_database(shop.name)


async def test_tables_are_added_to_a_running_connector(mysql_shop: Shop, mysql_root: AsyncEngine) -> None:
    shop = mysql_shop

    async def execute(*statements: str, **values: int) -> None:
        async with mysql_root.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement.replace("SHOP", shop.name)), values)

    def table(name: str) -> list[str]:
        # Debezium can't read an ENUM from the log without the statement that created the table.
        return [
            f"CREATE TABLE SHOP.{name} (id INT PRIMARY KEY, size ENUM('small', 'large'), price DECIMAL(8,2))",
            f"INSERT INTO SHOP.{name} VALUES (1, 'small', 1.50), (2, 'large', 2.25)",  # noqa: S608 - ours
            f"GRANT SELECT ON SHOP.{name} TO 'debezium'@'%'",
        ]

    async def write_until(done: asyncio.Event) -> int:
        number = 2
        while not done.is_set():
            number += 1
            await execute(
                "INSERT INTO SHOP.chairs VALUES (:number, 'large', 3)",
                "INSERT INTO SHOP.tables VALUES (:number, 'large', 3)",
                number=number,
            )
            await asyncio.sleep(0.02)
        return number

    await execute(*table("chairs"), *table("tables"))
    shop.declare("chairs", **{OLD_HISTORY: "true"})
    async with following(shop) as registrar:
        await eventually(lambda: shop.rows("chairs"), lambda found: len(found) == 2)
        done = asyncio.Event()
        writing = asyncio.create_task(write_until(done))
        try:
            shop.declare("tables")
            await eventually(lambda: shop.rows("tables"), lambda found: {1, 2, 3} <= found.keys())
        finally:
            done.set()
        last = await writing
        expected = {1: "small", **dict.fromkeys(range(2, last + 1), "large")}
        for name in ("chairs", "tables"):
            await eventually(lambda name=name: shop.rows(name), lambda found: found == expected)
        assert [event["op"] for event in await shop.events("chairs")].count("r") == 2, "no second snapshot"

        # A wrong file changes nothing.
        right = shop.file.read_text()
        shop.file.write_text(right.replace("kind: mysql", "kind: oracle"))
        found = await eventually(lambda: checks(registrar), lambda found: "routes" in found)
        assert "routes.yaml:2: source " in found["routes"]
        assert (await registrar.get("/v1/connectors")).json()[0]["name"] == shop.name

        # A table that does not exist yet: its connector runs without it, and captures it as soon as it can.
        shop.file.write_text(right)
        shop.declare("lamps")
        found = await eventually(lambda: checks(registrar), lambda found: "lamps" in found.get(shop.name, ""))
        assert found.keys() == {"topics", shop.name}
        await execute("INSERT INTO SHOP.chairs VALUES (1000000, 'small', 1)")
        await eventually(lambda: shop.rows("chairs"), lambda found: 1_000_000 in found)
        await execute(*table("lamps"))
        await eventually(lambda: shop.rows("lamps"), lambda found: found == {1: "small", 2: "large"})
        await execute("UPDATE SHOP.lamps SET size = 'small' WHERE id = 2")
        await eventually(lambda: shop.rows("lamps"), lambda found: found == {1: "small", 2: "small"})
        await eventually(lambda: checks(registrar), lambda found: set(found.values()) == {"ok"})

        # A source that is no longer declared has no connector. Declared again, it continues where it was.
        before = {name: await shop.snapshot_rows(name) for name in ("chairs", "tables")}
        await execute(*table("stools"))
        shop.undeclare()
        await eventually(shop.is_registered, lambda found: not found)
        await execute("INSERT INTO SHOP.chairs VALUES (1000001, 'large', 1)")
        shop.declare("stools")
        await eventually(lambda: shop.rows("chairs"), lambda found: 1_000_001 in found)
        await eventually(lambda: shop.rows("stools"), lambda found: found == {1: "small", 2: "large"})
        await eventually(lambda: checks(registrar), lambda found: set(found.values()) == {"ok"})
        after = {name: await shop.snapshot_rows(name) for name in ("chairs", "tables")}
        assert after == before, "no second snapshot"


async def test_connector_that_is_created_again_captures_a_table_that_is_older_than_its_history(
    mysql_shop: Shop, mysql_root: AsyncEngine
) -> None:
    shop = mysql_shop
    async with mysql_root.begin() as connection:
        for name in ("chairs", "stools"):
            for statement in (
                f"CREATE TABLE {shop.name}.{name} (id INT PRIMARY KEY, size ENUM('small', 'large'))",
                f"INSERT INTO {shop.name}.{name} VALUES (1, 'small'), (2, 'large')",  # noqa: S608 - ours
                f"GRANT SELECT ON {shop.name}.{name} TO 'debezium'@'%'",
            ):
                await connection.execute(text(statement))
    shop.declare("chairs", **{OLD_HISTORY: "true"})
    async with following(shop) as registrar:
        await eventually(lambda: shop.rows("chairs"), lambda found: len(found) == 2)
        shop.undeclare()
        await eventually(shop.is_registered, lambda found: not found)
        async with mysql_root.begin() as connection:
            await connection.execute(text(f"UPDATE {shop.name}.stools SET size = 'small' WHERE id = 2"))  # noqa: S608 - ours
        shop.declare("stools", **{OLD_HISTORY: "true"})
        await eventually(lambda: shop.rows("stools"), lambda found: found == {1: "small", 2: "small"})
        await eventually(lambda: checks(registrar), lambda found: set(found.values()) == {"ok"})


@asynccontextmanager
async def syncing(shop: Shop, mysql_root: AsyncEngine) -> AsyncIterator[Replica]:
    """A sync-service that applies the routes in the file of the shop. Its copies are deleted at the end."""
    schemas = [f"{shop.name}_sync", f"{shop.name}_copy", shop.name]
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"CREATE DATABASE {schemas[0]}"))
    variables = {
        "MYSQL_URL": shop.stack.addresses["MYSQL_ROOT_URL"] + schemas[0],
        "MONGODB_URL": shop.stack.addresses["MONGODB_URL"],
        "KAFKA_BOOTSTRAP_SERVERS": shop.stack.addresses["KAFKA_BOOTSTRAP_SERVERS"],
        "AUTH_JWKS_URL": "http://127.0.0.1:1/jwks.json",
        "SYNC_ROUTES_FILE": str(shop.file),
        "SYNC_GROUP_ID": f"test-{shop.name}",
        "SYNC_SESSION_TIMEOUT_MS": "6000",
        "SYNC_PROOF_SHARE": "0",
    }
    try:
        async with running_processes("sync-service", 1, shop.stack, **variables) as (replica,):
            yield replica
    finally:
        async with mysql_root.begin() as connection:
            for schema in schemas:
                await connection.execute(text(f"DROP DATABASE IF EXISTS {schema}"))


async def test_request_for_rows_of_a_table_that_is_gone_keeps_no_other_one_waiting(
    started: Stack, mysql_shop: Shop, mysql_root: AsyncEngine
) -> None:
    """The connector's account has a right on the whole schema, so it lacks none on a table that does not exist."""
    shop = mysql_shop

    async def execute(*statements: str) -> None:
        async with mysql_root.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement.replace("SHOP", shop.name)))

    def table(name: str) -> list[str]:
        return [
            f"CREATE TABLE SHOP.{name} (id INT PRIMARY KEY, size ENUM('small', 'large'))",
            f"INSERT INTO SHOP.{name} VALUES (1, 'small'), (2, 'large')",  # noqa: S608 - ours
        ]

    async def pending() -> dict[str, list[str]]:
        """By their ids, as a registrar that starts now reads them."""
        log = SnapshotLog(KafkaClients(started.addresses["KAFKA_BOOTSTRAP_SERVERS"]), shop.name, config)
        await log.refresh()
        return {request: [*tables] for request, tables in log.pending.items()}

    await execute(*table("chairs"), *table("late"))
    await execute("GRANT SELECT ON SHOP.* TO 'debezium'@'%'")
    shop.declare("chairs", **{OLD_HISTORY: "true"})
    async with following(shop) as registrar:
        await eventually(lambda: shop.rows("chairs"), lambda found: len(found) == 2)
        config = (await shop.config())["config"]
        # One table does not exist, another one does not exist any more, and one is older than the history.
        await execute(*table("dropped"), "DROP TABLE SHOP.dropped")
        shop.declare("absent", "dropped", "late", **{OLD_HISTORY: "true"})
        await eventually(lambda: shop.rows("late"), lambda found: found == {1: "small", 2: "large"})
        await eventually(lambda: checks(registrar), lambda found: set(found.values()) == {"ok"})
        await eventually(pending, lambda found: not found)
        await execute(*table("absent"))
        await eventually(lambda: shop.rows("absent"), lambda found: found == {1: "small", 2: "large"})


async def test_collections_are_added_to_a_running_connector_and_copied_without_a_restart(
    mongodb_shop: Shop, mysql_root: AsyncEngine, mongo: "AsyncIOMotorClient[dict[str, Any]]"
) -> None:
    shop = mongodb_shop

    async def copy(name: str, schema: str = shop.name) -> dict[int, str]:
        async with mysql_root.connect() as connection:
            there = "SELECT 1 FROM information_schema.tables WHERE table_schema = :schema AND table_name = :name"
            if not await connection.scalar(text(there), {"schema": schema, "name": name}):
                return {}
            rows = await connection.execute(text(f"SELECT id, size FROM {schema}.{name}"))  # noqa: S608 - ours
            return {int(row.id): row.size for row in rows}

    source = mongo[shop.name]
    for name in ("chairs", "tables"):
        await source[name].insert_many([{"_id": 1, "size": "small"}, {"_id": 2, "size": "large"}])
    shop.declare("chairs")
    async with following(shop) as registrar, syncing(shop, mysql_root) as sync:
        await eventually(lambda: shop.rows("chairs"), lambda found: len(found) == 2)
        await eventually(lambda: shop.is_running(["chairs"]))
        await eventually(lambda: copy("chairs", f"{shop.name}_copy"), lambda found: found == {1: "small", 2: "large"})
        await shop.add("tables")
        await is_reloaded(sync, "tables")
        await source["chairs"].insert_one({"_id": 3, "size": "small"})
        await eventually(lambda: copy("tables"), lambda found: found == {1: "small", 2: "large"})
        await eventually(
            lambda: copy("chairs", f"{shop.name}_copy"), lambda found: found == {1: "small", 2: "large", 3: "small"}
        )
        await eventually(lambda: shop.rows("tables"), lambda found: found == {1: "small", 2: "large"})
        await source["tables"].update_one({"_id": 2}, {"$set": {"size": "small"}})
        await eventually(lambda: copy("tables"), lambda found: found == {1: "small", 2: "small"})
        assert [event["op"] for event in await shop.events("chairs")].count("r") == 2, "no second snapshot"
        await eventually(lambda: checks(registrar), lambda found: set(found.values()) == {"ok"})
        (chairs, _) = (await sync.client.get("/v1/status")).json()["routes"]
        assert (chairs["stops"], chairs["gaps"], chairs["dead_lettered"]) == ([], [], 0)


@asynccontextmanager
async def locked(engine: AsyncEngine, table: str) -> AsyncIterator[AsyncConnection]:
    """Only this connection may use the table."""
    async with engine.connect() as connection:
        await connection.execute(text(f"LOCK TABLES {table} WRITE"))
        try:
            yield connection
        finally:
            await connection.execute(text("UNLOCK TABLES"))


async def test_rows_of_a_captured_table_are_copied_again_across_restarts(
    mysql_shop: Shop, mysql_root: AsyncEngine
) -> None:
    shop, topic = mysql_shop, f"cdc.{mysql_shop.name}.{mysql_shop.name}.chairs"
    numbers = ", ".join(f"({number}, 'small')" for number in range(200))

    async def execute(*statements: str) -> None:
        async with mysql_root.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement.replace("SHOP", shop.name)))

    await execute(
        "CREATE TABLE SHOP.chairs (id INT PRIMARY KEY, size VARCHAR(20))",
        f"INSERT INTO SHOP.chairs VALUES {numbers}",  # noqa: S608 - ours
        "GRANT SELECT ON SHOP.chairs TO 'debezium'@'%'",
    )
    shop.declare("chairs", **{"incremental.snapshot.chunk.size": "10"})
    async with deleting_connector(shop):
        async with registrar_of(shop) as registrar:

            async def state(id_: str) -> str:
                answer = await registrar.get(f"/v1/snapshots/{id_}", params={"topic": topic})
                return str(answer.json()["state"])

            await eventually(lambda: shop.snapshot_rows("chairs"), lambda found: found == 200)
            await eventually(lambda: checks(registrar), lambda found: set(found.values()) == {"ok"})
            answer = await registrar.post("/v1/snapshots", json={"topic": f"{topic}s"})
            assert (answer.status_code, answer.json()["code"]) == (404, "topic-not-captured")
            # The lock keeps the snapshot from its end until the connector is restarted.
            async with (
                locked(mysql_root, f"{shop.name}.chairs") as locking,
                httpx.AsyncClient(base_url=shop.stack.addresses["CONNECT_URL"], timeout=60) as connect,
            ):

                async def offsets() -> str:
                    return (await connect.get(f"/connectors/{shop.name}/offsets")).text

                answer = await registrar.post("/v1/snapshots", json={"topic": topic})
                requested = answer.json()
                assert (answer.status_code, requested["table"]) == (202, f"{shop.name}.chairs")
                await eventually(lambda: state(requested["id"]), lambda found: found == "running")
                await eventually(offsets, lambda found: "incremental_snapshot_collections" in found)
                await locking.execute(text(f"UPDATE {shop.name}.chairs SET size = 'large' WHERE id = 199"))  # noqa: S608 - ours
                await locking.commit()
                restarted = await connect.post(f"/connectors/{shop.name}/restart", params={"includeTasks": "true"})
                assert restarted.is_success
                assert await state(requested["id"]) == "running"
        async with registrar_of(shop) as registrar:
            await eventually(lambda: state(requested["id"]), lambda found: found == "copied")
            (connector,) = (await registrar.get("/v1/connectors")).json()
            assert connector["rows_awaited"] == []
        assert await shop.snapshot_rows("chairs") >= 400
        expected = {**dict.fromkeys(range(199), "small"), 199: "large"}
        await eventually(lambda: shop.rows("chairs"), lambda found: found == expected)
        assert await shop.requests() == [requested["id"]], "a second snapshot"
