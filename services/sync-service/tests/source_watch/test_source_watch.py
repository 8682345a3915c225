"""What changes rows of a source without events puts its copy in doubt, until `reconcile --repair` has repaired it.

Each case has a table or collection, and a route, of its own; one connector of the real Debezium reads all of a store.
"""

import asyncio
import contextlib
import secrets
from collections import Counter as Tally
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo.monitoring
import pytest
import structlog.testing
import yaml
from motor.motor_asyncio import AsyncIOMotorClient
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded_stack import Stack
from service_kit.background import Supervisor
from service_kit.kafka import KafkaClients
from service_kit.mysql import create_engine, server_lock
from support.connector import of_own_tables, run_connector
from support.polling import eventually
from support.topics import create_topics
from sync_service.kafka.gaps import Gaps, forget, now
from sync_service.metrics import SyncMetrics
from sync_service.proof import prover
from sync_service.proof.prover import RouteProver
from sync_service.proof.store import ProofStore
from sync_service.reconciliation.cli import ReconcileOptions, ReconcileSettings, reconcile
from sync_service.reconciliation.compare import ComparisonOptions
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.config import Route
from sync_service.routes.loader import load_routes
from sync_service.runner import SyncRunner
from sync_service.settings import Settings
from sync_service.sinks.base import Unavailable
from sync_service.sinks.mongodb import source_watch
from sync_service.sinks.mongodb.source_watch import MongodbWatch
from sync_service.sinks.registry import ComparisonStores
from sync_service.sinks.rows import CannotCompare
from sync_service.source_watch.states import SourceStates
from sync_service.source_watch.watch import FoundGaps, SourceWatch

Rows = Mapping[int, int]
ROWS: Rows = {1: 10, 2: 20, 3: 30}


@dataclass(frozen=True)
class Servers:
    stack: Stack
    settings: Settings
    engine: AsyncEngine
    mongo: "AsyncIOMotorClient[dict[str, Any]]"
    folder: Path

    def watched(self, store: str, names: Sequence[str]) -> "Watched":
        """Routes of a new schema or database of the store."""
        own = f"watched_{secrets.token_hex(4)}"
        from_mysql = store == "mysql"
        target = {"store": "mongodb", "database": f"{own}_copy"} if from_mysql else {"store": "mysql"}
        key, name_of_key = ("_id", "id") if from_mysql else ("id", "_id")
        declared = {
            name: {
                "topic": f"{own}.{own}.{name}",
                "target": {**target, "collection" if from_mysql else "table": f"{own}_{name}"},
                "key": {key: {"from": name_of_key, "type": "integer"}},
                "fields": {"v": {"from": "j", "type": "json_text"} if name == "json" else "integer"},
            }
            for name in names
        }
        file = self.folder / "routes.yaml"
        file.write_text(yaml.safe_dump(declared))
        return Watched(self.settings, self.engine, self.mongo, own, store, file)


@dataclass(frozen=True)
class Watched:
    """A source with a route for each of its tables or collections. A row has an id and a `v`."""

    settings: Settings
    engine: AsyncEngine
    mongo: "AsyncIOMotorClient[dict[str, Any]]"
    name: str
    source_store: str
    routes_file: Path

    @property
    def topics(self) -> list[str]:
        return [route.topic for route in load_routes(self.routes_file)]

    @asynccontextmanager
    async def syncing(self) -> AsyncIterator[SyncRunner]:
        registry = CollectorRegistry()
        routes = load_routes(self.routes_file)
        runner = SyncRunner(self.settings, routes, SyncMetrics(registry), Supervisor(registry))
        task = asyncio.create_task(runner.run())
        try:
            yield runner
        finally:
            runner.stop()
            await task

    async def copy(self, name: str) -> Mapping[int, Any]:
        if self.source_store == "mysql":
            found = await self.mongo[f"{self.name}_copy"][f"{self.name}_{name}"].find().to_list(None)
            return {row["_id"]: row["v"] for row in found}
        async with self.engine.connect() as connection:
            if not await connection.scalar(text("SHOW TABLES LIKE :name"), {"name": f"{self.name}_{name}"}):
                return {}
            rows = await connection.execute(text(f"SELECT id, v FROM {self.name}_{name}"))  # noqa: S608 - of this test
            return {row.id: row.v for row in rows}

    async def becomes(self, name: str, rows: Mapping[int, Any]) -> None:
        await eventually(lambda: self.copy(name), lambda seen: seen == rows, within=60)

    async def becomes_watched(self) -> None:
        """A first check notes how far the source is. What happens later is found."""
        kind, names = ("table", f"{self.name}.%") if self.source_store == "mysql" else ("database", self.name)
        query = text("SELECT COUNT(*) FROM sync_source_states WHERE kind = :kind AND name LIKE :names")

        async def watched() -> int:
            async with self.engine.connect() as connection:
                found: int = await connection.scalar(query, {"kind": kind, "names": names})
                return found

        wanted = len(self.topics) if self.source_store == "mysql" else 1
        await eventually(watched, lambda number: number == wanted)

    def doubts(self, runner: SyncRunner) -> Mapping[str, list[tuple[str, str]]]:
        """The causes and reasons, by the routes that have any."""
        found = {topic.rpartition(".")[2]: runner.gaps.of(topic) for topic in self.topics}
        return {name: sorted((gap.cause, gap.reason) for gap in gaps) for name, gaps in found.items() if gaps}

    async def become_in_doubt(self, runner: SyncRunner, wanted: Mapping[str, tuple[str, str]]) -> None:
        """The newest cause of each route, and a part of its reason."""

        async def found() -> Mapping[str, list[tuple[str, str]]]:
            return self.doubts(runner)

        def is_wanted(seen: Mapping[str, list[tuple[str, str]]]) -> bool:
            return seen.keys() == wanted.keys() and all(
                any(cause == known and part in reason for known, reason in seen[name])
                for name, (cause, part) in wanted.items()
            )

        await eventually(found, is_wanted, within=60)

    async def proof_becomes(self, name: str, *, rows: int, different: int) -> None:
        """What the proof that runs by itself finds, when it compares the whole route."""
        (route,) = (route for route in load_routes(self.routes_file) if route.name == name)
        clients, store = KafkaClients.of(self.settings), ProofStore(self.engine)

        async def found() -> tuple[int, int] | None:
            # While events wait it is not compared, and a row that was on its way differs for a moment.
            with contextlib.suppress(CannotCompare):
                await route_prover.step()
            proof = (await store.proofs()).get(name)
            return (proof.rows, proof.different) if proof else None

        async with AsyncExitStack() as cleanup:
            stores = ComparisonStores(
                *(url.get_secret_value() for url in (self.settings.mysql_url, self.settings.mongodb_url))
            )
            cleanup.push_async_callback(stores.close)
            topic = TopicProgress(clients, route.topic, self.settings.sync_group_id, patience=30)
            progress = await cleanup.enter_async_context(topic)
            route_prover = RouteProver(route, store, await stores.open_target(route), progress, repair=False)
            await eventually(found, lambda seen: seen == (rows, different), within=60)

    async def reconcile(self, runner: SyncRunner, *names: str) -> None:
        """The remedy that the reason offers, as an operator runs it: afterwards the routes are in no doubt."""
        # A check that still sees what is over by now would put a route in doubt while it is compared.
        async with server_lock(self.engine, f"watch sources {self.engine.url.database}", 60):
            pass
        settings = ReconcileSettings.model_validate(
            {
                **self.settings.model_dump(include=set(ReconcileSettings.model_fields)),
                "sync_routes_file": self.routes_file,
            }
        )
        options = ReconcileOptions(
            list(names), ComparisonOptions(repair=True, max_repairs=1000), json=True, patience=30
        )
        assert await asyncio.to_thread(reconcile, options, settings) == 0

        async def found() -> set[str]:
            return set(names) & self.doubts(runner).keys()

        await eventually(found, lambda seen: not seen)


@pytest.fixture(autouse=True)
def no_proof_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prover, "PROOF_SECONDS", 0.0)


@pytest.fixture
async def servers(
    stack: Stack,
    settings: Settings,
    engine: AsyncEngine,
    tmp_path: Path,
    frequent_checks: None,
) -> AsyncIterator[Servers]:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(settings.mongodb_url.get_secret_value())
    yield Servers(stack, settings, engine, client, tmp_path)
    client.close()
    async with engine.begin() as connection:
        for table in ("sync_proofs", "sync_proven_ranges"):
            await connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - names of ours


@asynccontextmanager
async def session(url: str, *settings: str) -> AsyncIterator[Any]:
    """Executes statements in one session of MySQL, after its own settings. The session has ended after the block."""
    engine = create_engine(url)
    async with engine.connect() as connection:
        own_id = await connection.scalar(text("SELECT CONNECTION_ID()"))
        for setting in settings:
            await connection.execute(text(f"SET SESSION {setting}"))

        async def execute(statement: str) -> None:
            await connection.execute(text(statement))
            await connection.commit()

        yield execute
        await connection.invalidate()

    async def is_open() -> bool:
        query = "SELECT COUNT(*) FROM performance_schema.threads WHERE processlist_id = :id"
        async with engine.connect() as connection:
            return await connection.scalar(text(query), {"id": own_id}) != 0

    await eventually(is_open, lambda found: not found)
    await engine.dispose()


MYSQL_TABLES = ["quiet", "dropped", "away", "swapped", "truncated", "altered", "parted", "json"]


async def test_statements_of_mysql_put_copies_in_doubt_until_they_are_mended(
    servers: Servers, mysql_root_url: str
) -> None:
    watched = servers.watched("mysql", MYSQL_TABLES)
    own = watched.name
    async with session(mysql_root_url) as execute:

        async def create(name: str, columns: str = "id INT PRIMARY KEY, v INT", options: str = "") -> None:
            await execute(f"CREATE TABLE {own}.{name} ({columns}) {options}")

        await execute(f"CREATE DATABASE {own}")
        await execute(f"GRANT SELECT ON {own}.* TO 'debezium'@'%'")
        for name in MYSQL_TABLES[:-2]:
            await create(name)
        await create(
            "parted",
            options="PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (2), PARTITION p1 VALUES LESS THAN (9))",
        )
        await create("json", "id INT PRIMARY KEY, j JSON, pad VARCHAR(20)")
        for name in MYSQL_TABLES[:-1]:
            await execute(f"INSERT INTO {own}.{name} (id, v) VALUES (1, 10), (2, 20), (3, 30)")  # noqa: S608 - of this test
        await execute(f"INSERT INTO {own}.json (id, j) VALUES (1, JSON_OBJECT('price', 5, 'pad', REPEAT('x', 500)))")  # noqa: S608 - of this test
        captured = ",".join(f"{own}.{name}" for name in MYSQL_TABLES)
        topics = [*watched.topics, own]
        async with (
            run_connector(servers.stack, "mysql-users", changed=of_own_tables(own, captured), topics=topics),
            watched.syncing() as runner,
        ):
            for name in MYSQL_TABLES[:-1]:
                await watched.becomes(name, ROWS)
            await watched.becomes_watched()
            assert watched.doubts(runner) == {}

            await execute(f"DROP TABLE {own}.dropped")
            await execute(f"RENAME TABLE {own}.away TO {own}.elsewhere")
            await execute(f"CREATE TABLE {own}._swapped_gho LIKE {own}.swapped")
            await execute(f"INSERT INTO {own}._swapped_gho VALUES (1, 10), (2, 21)")  # noqa: S608 - of this test
            await execute(f"RENAME TABLE {own}.swapped TO {own}._swapped_del, {own}._swapped_gho TO {own}.swapped")
            await execute(f"TRUNCATE {own}.truncated")
            await execute(f"ALTER TABLE {own}.altered RENAME COLUMN v TO old, ADD COLUMN v INT DEFAULT 7")
            await execute(f"ALTER TABLE {own}.parted TRUNCATE PARTITION p0")
            await execute(f"ALTER TABLE {own}.quiet ADD COLUMN other INT DEFAULT 5 AFTER v, ADD INDEX (v)")
            await execute(f"INSERT INTO {own}.quiet (id, v) VALUES (4, 40)")  # noqa: S608 - of this test
            await watched.become_in_doubt(
                runner,
                {
                    "dropped": ("dropped", "DROP TABLE"),
                    "away": ("gone", f"{own}.away is gone"),
                    "swapped": ("renamed", "RENAME TABLE"),
                    "truncated": ("truncated", "TRUNCATE TABLE"),
                    "altered": ("altered", "ALTER TABLE: it changes v in all rows"),
                    "parted": ("altered", "ALTER TABLE … TRUNCATE PARTITION"),
                },
            )
            assert runner.metrics.registry.get_sample_value("sync_gaps", {"route": "dropped"}) in {1, 2}
            await watched.becomes("quiet", {**ROWS, 4: 40})

            await create("dropped")
            await execute(f"INSERT INTO {own}.dropped VALUES (9, 90)")  # noqa: S608 - of this test
            await execute(f"INSERT INTO {own}.elsewhere VALUES (5, 50)")  # noqa: S608 - of this test
            await execute(f"RENAME TABLE {own}.elsewhere TO {own}.away")
            await watched.becomes("dropped", {**ROWS, 9: 90})
            await watched.reconcile(runner, "dropped", "away", "swapped", "truncated", "altered", "parted")
            await watched.becomes("dropped", {9: 90})
            await watched.becomes("away", {**ROWS, 5: 50})
            await watched.becomes("swapped", {1: 10, 2: 21})
            await watched.becomes("truncated", {})
            await watched.becomes("altered", dict.fromkeys(ROWS, 7))
            await watched.becomes("parted", {2: 20, 3: 30})

            await watched.proof_becomes("quiet", rows=4, different=0)
            async with session(mysql_root_url, "sql_log_bin=0") as unlogged:
                await unlogged(f"INSERT INTO {own}.quiet (id, v) VALUES (5, 50)")  # noqa: S608 - of this test
                await unlogged(f"UPDATE {own}.quiet SET v = 21 WHERE id = 2")  # noqa: S608 - of this test
                await watched.become_in_doubt(runner, dict.fromkeys(MYSQL_TABLES, ("unlogged", "sql_log_bin")))
            await watched.proof_becomes("quiet", rows=3, different=2)
            await watched.reconcile(runner, *MYSQL_TABLES)
            await watched.becomes("quiet", {**ROWS, 2: 21, 4: 40, 5: 50})

            async with session(mysql_root_url, "binlog_row_value_options='PARTIAL_JSON'") as partial:
                await partial(f"UPDATE {own}.json SET j = JSON_SET(j, '$.price', 1)")  # noqa: S608 - of this test
                reason = "Debezium leaves out updates of JSON columns"
                await watched.become_in_doubt(runner, dict.fromkeys(MYSQL_TABLES, ("unlogged", reason)))
            assert (await watched.copy("json"))[1]["price"] == 5
            await watched.proof_becomes("json", rows=0, different=1)
            await watched.reconcile(runner, *MYSQL_TABLES)
            assert (await watched.copy("json"))[1]["price"] == 1

            # The connector fails at this change, and needs a new snapshot.
            async with session(mysql_root_url, "binlog_row_image=MINIMAL") as minimal:
                await minimal(f"UPDATE {own}.quiet SET v = 41 WHERE id = 4")  # noqa: S608 - of this test
                reason = "lack columns"
                await watched.become_in_doubt(runner, dict.fromkeys(MYSQL_TABLES, ("unlogged", reason)))
            await watched.reconcile(runner, *MYSQL_TABLES)
            await watched.becomes("quiet", {**ROWS, 2: 21, 4: 41, 5: 50})
        await execute(f"DROP DATABASE {own}")
        await execute(f"REVOKE SELECT ON {own}.* FROM 'debezium'@'%'")  # noqa: S608 - of this test
    await servers.mongo.drop_database(f"{own}_copy")


async def test_changed_type_of_a_column_is_reported_by_every_process_until_it_fits(
    servers: Servers, mysql_root_url: str
) -> None:
    watched = servers.watched("mysql", ["typed"])
    own = watched.name
    await create_topics(servers.settings.kafka_bootstrap_servers, *watched.topics)

    async def known_types() -> Mapping[str, str]:
        """Those of the columns when their fields were declared."""
        query = text("SELECT name, state FROM sync_source_states WHERE kind = 'column' AND name LIKE :names")
        async with servers.engine.connect() as connection:
            found = await connection.execute(query, {"names": f"{own}.%"})
            return {row.name.rpartition(".")[2]: row.state.partition(" ")[2] for row in found}

    async def become_unfit(runner: SyncRunner, wanted: Mapping[str, str]) -> None:
        statistics = runner.processors[watched.topics[0]].statistics

        async def unfit() -> Mapping[str, str]:
            return statistics.unfit_fields

        await eventually(unfit, lambda found: found == wanted)
        assert runner.metrics.registry.get_sample_value("sync_unfit_fields", {"route": "typed"}) == len(wanted)

    too_large = {
        "v": "the column v was int and is bigint unsigned: a Decimal that is no integer: it is beyond 64 bits with a "
        "sign: use unsigned, or decimal"
    }
    async with session(mysql_root_url) as execute:
        await execute(f"CREATE DATABASE {own}")
        await execute(f"CREATE TABLE {own}.typed (id INT PRIMARY KEY, v INT, kind ENUM('a'))")
        async with watched.syncing() as runner, watched.syncing() as another:
            await eventually(known_types, {"id": "int", "v": "int"}.__eq__)
            with structlog.testing.capture_logs() as logged:
                await execute(f"ALTER TABLE {own}.typed MODIFY id BIGINT, MODIFY v BIGINT UNSIGNED")
                for each in (runner, another):
                    await become_unfit(each, too_large)
            found = [(line["route"], line["field"]) for line in logged if "no longer fits" in line["event"]]
            assert found == [("typed", "v")] * 2
        declared = yaml.safe_load(watched.routes_file.read_text())
        declared["typed"]["fields"]["v"] = {"type": "integer", "personal": True}
        watched.routes_file.write_text(yaml.safe_dump(declared))
        async with watched.syncing() as runner:
            await become_unfit(runner, too_large)
            await execute(f"ALTER TABLE {own}.typed DROP COLUMN v")
            await become_unfit(runner, {"v": "the source has no column v any more"})
            await execute(f"ALTER TABLE {own}.typed RENAME COLUMN id TO code")
            gone = {name: f"the source has no column {column} any more" for name, column in (("v", "v"), ("_id", "id"))}
            await become_unfit(runner, gone)
            await execute(f"ALTER TABLE {own}.typed RENAME COLUMN code TO id")
            await execute(f"ALTER TABLE {own}.typed ADD COLUMN v SMALLINT UNSIGNED")
            await become_unfit(runner, {})
            await execute(f"ALTER TABLE {own}.typed MODIFY v VARCHAR(20)")
            await become_unfit(runner, {"v": "the column v was int and is varchar(20): a str that is no integer"})
        # The route is changed for the new type.
        declared["typed"]["fields"]["v"] = "string"
        watched.routes_file.write_text(yaml.safe_dump(declared))
        async with watched.syncing() as runner:
            await eventually(known_types, {"id": "int", "v": "varchar(20)"}.__eq__)
            await become_unfit(runner, {})
            await execute(f"ALTER TABLE {own}.typed MODIFY v INT")
            await become_unfit(runner, {"v": "the column v was varchar(20) and is int: a int that is no string"})
        await execute(f"DROP DATABASE {own}")
    await servers.mongo.drop_database(f"{own}_copy")


COLLECTIONS = ["quiet", "dropped", "away", "into", "replaced", "capped", "merged"]


async def test_changes_of_collections_put_copies_in_doubt_until_they_are_mended(
    servers: Servers,
) -> None:
    watched = servers.watched("mongodb", COLLECTIONS)
    own, engine = watched.name, servers.engine
    source = servers.mongo[own]

    async def fill(name: str, rows: Rows) -> None:
        await source[name].insert_many([{"_id": key, "v": value} for key, value in rows.items()])

    for name in COLLECTIONS:
        await fill(name, ROWS)
    changed = {
        "topic.prefix": own,
        "capture.target": own,
        "collection.include.list": ",".join(f"{own}.{name}" for name in COLLECTIONS),
    }
    async with run_connector(servers.stack, "mongodb-tweets", changed=changed, topics=watched.topics):
        async with watched.syncing() as runner:
            for name in COLLECTIONS:
                await watched.becomes(name, ROWS)
            await watched.becomes_watched()
            assert watched.doubts(runner) == {}

            await fill("stage", {2: 21, 5: 50})
            await source["dropped"].drop()
            await source["away"].rename("elsewhere")
            await source["into"].drop()
            await fill("other", {7: 70})
            await source["other"].rename("into")
            await source["stage"].aggregate([{"$out": "replaced"}]).to_list(None)
            await source["stage"].aggregate([{"$merge": "merged"}]).to_list(None)
            await source.command("convertToCapped", "capped", size=4096)
            await source.command("collMod", "quiet", validationLevel="moderate")
            await fill("quiet", {4: 40})
            await watched.become_in_doubt(
                runner,
                {
                    "dropped": ("dropped", "drop: the copy keeps"),
                    "away": ("renamed", f"it is {own}.elsewhere now"),
                    "into": ("renamed", "it was other"),
                    "replaced": ("replaced", "$out"),
                    "capped": ("replaced", "convertToCapped"),
                },
            )
            await watched.becomes("quiet", {**ROWS, 4: 40})
            await watched.becomes("merged", {**ROWS, 2: 21, 5: 50})
            await watched.reconcile(runner, *COLLECTIONS)
            await watched.becomes("dropped", {})
            await watched.becomes("away", {})
            await watched.becomes("into", {7: 70})
            await watched.becomes("replaced", {2: 21, 5: 50})

        # While no sync is running, the change streams keep what happens, until the end of MongoDB's log.
        await source["into"].drop()
        async with watched.syncing() as runner:
            await watched.become_in_doubt(runner, {"into": ("dropped", "drop")})
            await watched.reconcile(runner, "into")
        async with watched.syncing() as runner:
            await source.client.drop_database(own)
            await watched.become_in_doubt(
                runner,
                dict.fromkeys(["quiet", "replaced", "capped", "merged"], ("dropped", "drop: the copy keeps")),
            )
    async with engine.begin() as connection:
        for name in COLLECTIONS:
            await connection.execute(text(f"DROP VIEW IF EXISTS {own}_{name}"))
            await connection.execute(text(f"DROP TABLE IF EXISTS {own}_{name}_copy"))


class Commands(pymongo.monitoring.CommandListener):
    """The commands of a client, by their names."""

    def __init__(self) -> None:
        self.sent: Tally[str] = Tally()

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
        self.sent[event.command_name] += 1

    def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None: ...


async def test_check_of_a_database_is_one_command_and_stores_only_what_has_changed(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = servers.watched("mongodb", COLLECTIONS)
    routes, commands = load_routes(watched.routes_file), Commands()
    url = servers.settings.mongodb_url.get_secret_value()
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(url, event_listeners=[commands])
    source = servers.mongo[watched.name]
    for name in COLLECTIONS:
        await source[name].insert_one({"_id": 1, "v": 1})
    gaps, stores = Gaps(servers.engine), []
    states = SourceStates(servers.engine)
    store = states.store

    async def counted(kind: str, name: str, *rest: Any) -> None:
        stores.append(name)
        await store(kind, name, *rest)

    def new_watch() -> SourceWatch:
        return SourceWatch([MongodbWatch(routes, client, FoundGaps(routes, states, gaps))])

    async def causes() -> dict[str, int]:
        """How often each collection was found to be changed, by its name."""
        await gaps.refresh()
        found = {route.name: len(gaps.of(route.topic)) for route in routes}
        return {name: number for name, number in found.items() if number}

    monkeypatch.setattr(states, "store", counted)
    one, other = new_watch(), new_watch()
    await one.check()
    assert stores == [watched.name], "where it begins"
    commands.sent.clear()
    for _ in range(10):
        await one.check()
    assert commands.sent == {"getMore": 10}
    assert stores == [watched.name]

    await source["dropped"].drop()
    await eventually(lambda: checked(one, causes), {"dropped": 1}.__eq__)
    assert len(stores) == 2
    # Another process continues there, and finds what is new; this one continues after it and finds nothing again.
    await source["away"].rename("elsewhere")
    await eventually(lambda: checked(other, causes), {"dropped": 1, "away": 1}.__eq__)
    for topic in (route.topic for route in routes):
        await forget(servers.engine, topic, before=await now(servers.engine))
    for _ in range(3):
        await one.check()
        await other.check()
    assert await causes() == {}
    assert len(stores) == 3

    # What was read and not stored is read again.
    monkeypatch.setattr(states, "store", unavailable)
    await source["into"].drop()
    commands.sent.clear()

    async def aggregates() -> int:
        await one.check()
        return commands.sent["aggregate"]

    await eventually(aggregates)
    monkeypatch.setattr(states, "store", counted)
    await eventually(lambda: checked(one, causes), {"into": 1}.__eq__)
    # Also without changes, before MongoDB's log no longer has the position.
    monkeypatch.setattr(source_watch, "RENEW_SECONDS", 0.0)
    before = len(stores)
    await one.check()
    assert len(stores) == before + 1
    await one.close()
    await other.close()
    client.close()
    await servers.mongo.drop_database(watched.name)


async def test_new_route_is_in_no_doubt_because_of_what_happened_before_it(servers: Servers) -> None:
    """The stored position may be older than the route."""
    watched = servers.watched("mongodb", ["first", "later"])
    first, later = load_routes(watched.routes_file)
    source, gaps, states = servers.mongo[watched.name], Gaps(servers.engine), SourceStates(servers.engine)
    await source["first"].insert_one({"_id": 1})
    await source["later"].insert_one({"_id": 1})

    def new_watch(*routes: Route) -> SourceWatch:
        return SourceWatch([MongodbWatch(routes, servers.mongo, FoundGaps(routes, states, gaps))])

    async def causes() -> dict[str, int]:
        await gaps.refresh()
        found = {route.name: len(gaps.of(route.topic)) for route in (first, later)}
        return {name: number for name, number in found.items() if number}

    before = new_watch(first)
    await before.check()
    await source["later"].drop()
    await source["later"].insert_one({"_id": 2})
    await before.close()
    # Another process, or this one with other routes.
    for _ in range(2):
        after = new_watch(first, later)
        await after.check()
        await source["first"].insert_one({})
        await after.check()
        assert await causes() == {}
        await after.close()
    await source["later"].drop()
    again = new_watch(first, later)
    await eventually(lambda: checked(again, causes), {"later": 1}.__eq__)
    await again.close()
    await servers.mongo.drop_database(watched.name)


async def checked(watch: SourceWatch, found: Callable[[], Awaitable[dict[str, int]]]) -> dict[str, int]:
    await watch.check()
    return await found()


async def unavailable(*_: Any) -> None:
    raise Unavailable("MySQL does not answer")
