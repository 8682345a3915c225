"""Copies held against their sources, in both directions, on real databases and a real broker."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from bson import Int64, ObjectId
from motor.motor_asyncio import AsyncIOMotorClient
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded_stack import Stack
from service_kit.background import Supervisor
from service_kit.kafka import KafkaClients
from service_kit.mysql import create_engine
from support.change_events import Record, mongodb_event, mysql_event
from support.polling import eventually
from sync_service.apply.changes import Change
from sync_service.apply.ordering import Flow, Version, offset, stream
from sync_service.debezium.envelope import decode
from sync_service.debezium.positions import epoch, position
from sync_service.metrics import SyncMetrics
from sync_service.reconciliation import cli
from sync_service.reconciliation.cli import Asked, ReconcileSettings
from sync_service.reconciliation.compare import Comparison, Wanted
from sync_service.reconciliation.comparison_target import Sides, open_sides
from sync_service.reconciliation.reports import RouteReport
from sync_service.reconciliation.rows import CannotCompare, Kind
from sync_service.reconciliation.topic import Topic
from sync_service.routes.config import Route
from sync_service.routes.mapping import map_fields, map_key
from sync_service.runner import SyncOperation
from sync_service.settings import Settings
from sync_service.sinks.base import Sink, Written

PARTITIONS = 2
TOPIC_ID = "9" * 32
WHEN = datetime(2026, 11, 24, 3, 17, 34, 81894, tzinfo=UTC)
HARD_TEXTS = (
    "",
    "plain",
    "naïve 日本語",
    "🎉 four bytes \U0001f469\u200d\U0001f4bb",
    'quotes " and \\ and \n',
    "-",
    "%s %(a)s",
)


class Direction(Protocol):
    """A source and its copy, by numbers of rows."""

    route: Route

    async def put(self, number: int, content: str) -> None:
        """Insert or change a row of the source."""

    async def remove(self, number: int) -> None: ...

    async def clear(self) -> None: ...

    def event(self, number: int, content: str, *, op: str = "u", place: int = 1) -> Record:
        """What Debezium writes about it. `place` orders events of the source."""

    async def corrupt(self, number: int, content: str) -> None:
        """Change the copy behind the sync's back."""

    async def copied(self) -> dict[int, str]:
        """What lives in the copy."""

    async def stored_event(self, number: int) -> str | None:
        """Which event made the row of the copy, or the tombstone."""


@dataclass
class Users:
    """From MySQL to MongoDB."""

    route: Route
    engine: AsyncEngine
    schema: str
    database: Any

    def row(self, number: int, content: str) -> dict[str, Any]:
        return {
            "id": f"u{number:05d}",
            "username": f"user{number}",
            "name": content,
            "email": "a@example.com",
            "role": "customer",
            "is_active": number % 2,
            "tokens_valid_after": WHEN if number % 3 == 0 else None,
            "created_at": WHEN,
            "updated_at": WHEN,
        }

    async def put(self, number: int, content: str) -> None:
        row = self.row(number, content)
        names = ", ".join(row)
        statement = f"REPLACE INTO {self.schema}.users ({names}) VALUES ({', '.join(['%s'] * len(row))})"  # noqa: S608 - names of ours
        values = [value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in row.values()]
        async with self.engine.begin() as connection:
            await connection.exec_driver_sql(statement, tuple(values))

    async def remove(self, number: int) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(
                text(f"DELETE FROM {self.schema}.users WHERE id = :id"),  # noqa: S608 - names of ours
                {"id": f"u{number:05d}"},
            )

    async def clear(self) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(text(f"DELETE FROM {self.schema}.users"))  # noqa: S608 - names of ours

    def event(self, number: int, content: str, *, op: str = "u", place: int = 1) -> Record:
        row = self.row(number, content)
        text_row = {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()}
        return mysql_event(text_row, op=op, pos=place)

    async def corrupt(self, number: int, content: str) -> None:
        await self.database["users_copy"].update_one({"_id": f"u{number:05d}"}, {"$set": {"name": content}})

    async def copied(self) -> dict[int, str]:
        return {int(row["_id"][1:]): row["name"] async for row in self.database["users"].find()}

    async def stored_event(self, number: int) -> str | None:
        row = await self.database["users_copy"].find_one({"_id": f"u{number:05d}"})
        return None if row is None else f"{row['_sync']['stream']}:{row['_sync']['offset']}"


@dataclass
class Tweets:
    """From MongoDB to MySQL."""

    route: Route
    engine: AsyncEngine
    source: Any

    def document(self, number: int, content: str) -> dict[str, Any]:
        return {
            "_id": ObjectId(f"{number:024x}"),
            "author_id": "u1",
            "text": content,
            "created_at": WHEN.replace(microsecond=81000),
            "edited_at": None,
            "version": Int64(2**31 - 1 - number % 2),
            "reply_to": ObjectId(f"{number:024x}") if number % 3 == 0 else None,
            # Names in an order that is not MySQL's, and numbers of every kind.
            "entities": {
                "longer": [{"n": 1.0, "m": 2**53 + 1}],
                "b": content,
                "a": None,
                "ä": 1e-7,
                "big": Int64(2**63 - 1),
            },
            "lang": None,
            "not copied": content,
        }

    async def put(self, number: int, content: str) -> None:
        document = self.document(number, content)
        await self.source.replace_one({"_id": document["_id"]}, document, upsert=True)

    async def remove(self, number: int) -> None:
        await self.source.delete_one({"_id": ObjectId(f"{number:024x}")})

    async def clear(self) -> None:
        await self.source.delete_many({})

    def event(self, number: int, content: str, *, op: str = "u", place: int = 1) -> Record:
        document = self.document(number, content)
        extended = {
            **document,
            "_id": {"$oid": str(document["_id"])},
            "created_at": {"$date": int(document["created_at"].timestamp() * 1000)},
            "version": {"$numberLong": str(document["version"])},
            "reply_to": document["reply_to"] and {"$oid": str(document["reply_to"])},
            "entities": {**document["entities"], "big": {"$numberLong": str(2**63 - 1)}},
        }
        return mongodb_event(extended, op=op, ordinal=place)

    async def corrupt(self, number: int, content: str) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(
                text("UPDATE tweets_copy SET text = :content WHERE id = :id"),
                {"content": content, "id": f"{number:024x}"},
            )

    async def copied(self) -> dict[int, str]:
        async with self.engine.connect() as connection:
            return {int(row.id, 16): row.text for row in await connection.execute(text("SELECT id, text FROM tweets"))}

    async def stored_event(self, number: int) -> str | None:
        async with self.engine.connect() as connection:
            wanted = {"id": f"{number:024x}"}
            found = await connection.execute(text("SELECT sync_event FROM tweets_copy WHERE id = :id"), wanted)
            event: str | None = found.scalar_one_or_none()
            return event


@dataclass
class World:
    """One direction, its topic, and what compares it. Offsets are counted by `copy`."""

    direction: Direction
    sides: Sides
    settings: Settings
    producer: AIOKafkaProducer
    offsets: int = 0
    running: "list[tuple[SyncOperation, asyncio.Task[None]]]" = field(default_factory=list)

    @property
    def route(self) -> Route:
        return self.direction.route

    async def copy(
        self, number: int, content: str, *, op: str = "u", place: int = 1, flow: Flow = Flow.LIVE
    ) -> Written:
        """Write to the copy what an event says, as the sync does."""
        self.offsets += 1
        return await self.sides.sink.write([self.change(number, content, op=op, place=place)], flow)

    def change(self, number: int, content: str, *, op: str = "u", place: int = 1) -> Change:
        event = decode(*self.direction.event(number, content, op=op, place=place))
        assert event is not None
        version = Version(stream(TOPIC_ID, 0), offset(self.offsets), epoch(event.source), position(event.source), op)
        values = None if event.after is None else map_fields(self.route, event.after)
        return Change(map_key(self.route, event.key), values, version)

    async def both(self, contents: Mapping[int, str]) -> None:
        for number, content in contents.items():
            await self.direction.put(number, content)
            await self.copy(number, content)

    async def send(self, *records: Record) -> None:
        for key, value in records:
            await self.producer.send(self.route.topic, key=key, value=value, partition=0)
        await self.producer.flush()

    def start_sync(self) -> SyncOperation:
        operation = SyncOperation(
            self.settings, [self.route], SyncMetrics(registry := CollectorRegistry()), Supervisor(registry)
        )
        self.running.append((operation, asyncio.create_task(operation.run())))
        return operation

    async def compare(self, *, patience: float = 30, sides: Sides | None = None, **wanted: Any) -> RouteReport:
        group = self.settings.sync_group_id
        async with Topic(KafkaClients.of(self.settings), self.route.topic, group, patience=patience) as topic:
            options = Wanted(**{"rows_in_a_range": 7, **wanted})
            return await Comparison(self.route, sides or self.sides, topic, options).run()


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
                "tokens_valid_after DATETIME(6), created_at DATETIME(6), updated_at DATETIME(6))"
            )
        )
    yield name
    async with engine.begin() as connection:
        await connection.execute(text(f"DROP DATABASE {name}"))
    await engine.dispose()


@pytest.fixture(params=["users", "tweets"])
async def world(
    request: pytest.FixtureRequest,
    settings: Settings,
    engine: AsyncEngine,
    routes: dict[str, Route],
    source_schema: str,
) -> AsyncIterator[World]:
    database_url, kafka_bootstrap_servers = settings.mongodb_url.get_secret_value(), settings.kafka_bootstrap_servers
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(database_url, tz_aware=True)
    database = client.get_default_database()
    suffix = secrets.token_hex(4)
    direction: Direction
    if request.param == "users":
        route = routes["users"].model_copy(update={"topic": f"test.{suffix}.{source_schema}.users"})
        direction = Users(route, engine, source_schema, database)
    else:
        source = client[f"source_{suffix}"]["tweets"]
        route = routes["tweets"].model_copy(update={"topic": f"test.source_{suffix}.tweets"})
        direction = Tweets(route, engine, source)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(route.topic, PARTITIONS, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap_servers)
    await producer.start()
    sides = await open_sides(route, engine, client)
    await sides.sink.prepare()
    world = World(direction, sides, settings, producer)
    yield world
    for operation, task in world.running:
        operation.stop()
        await task
    await producer.stop()
    await direction.clear()
    await client.drop_database(database.name)
    await client.drop_database(f"source_{suffix}")
    client.close()
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM tweets_copy"))


def counts(report: RouteReport) -> tuple[int, int, int, int, int]:
    return report.missing, report.extra, report.different, report.unsettled, report.mended


NUMBERED = {number: f"content {number}" for number in range(30)}


async def test_rows_of_every_kind_agree(world: World) -> None:
    await world.both(dict(enumerate(HARD_TEXTS)))
    assert world.sides.canonical.is_exact_in_sql
    compared = []

    async def refuse(_within: object) -> Sequence[Any]:
        compared.append(_within)
        return []

    # The checksums alone say so: no row is read.
    world.sides.source.rows = refuse  # type: ignore[method-assign]
    report = await world.compare()
    assert (report.rows, counts(report), compared) == (len(HARD_TEXTS), (0, 0, 0, 0, 0), [])
    assert report.is_in_agreement


async def test_empty_source_and_empty_copy_agree(world: World) -> None:
    report = await world.compare()
    assert (report.rows, report.is_in_agreement) == (0, True)


async def test_missing_extra_and_different_rows_are_found_and_named(world: World) -> None:
    await world.both(NUMBERED)
    await world.direction.put(100, "missing")
    await world.copy(200, "extra")
    await world.direction.corrupt(14, "content 14 ")
    report = await world.compare()
    assert (report.rows, counts(report)) == (31, (1, 1, 1, 0, 0))
    assert not report.is_in_agreement
    found = {example.kind: (list(example.key), list(example.fields)) for example in report.examples}
    key = {number: list(world.change(number, "").key) for number in (14, 100, 200)}
    field_name = "name" if "name" in world.route.fields else "text"
    assert found == {
        Kind.MISSING: (key[100], []),
        Kind.EXTRA: (key[200], []),
        Kind.DIFFERENT: (key[14], [field_name]),
    }


async def test_rows_are_compared_one_by_one_where_sql_can_not_write_a_field(world: World) -> None:
    await world.both(NUMBERED)
    await world.direction.corrupt(3, "x")
    canonical = world.sides.canonical
    fields = [replace(each, expression=None) for each in canonical.fields]
    sides = replace(world.sides, canonical=replace(canonical, fields=fields))
    report = await world.compare(sides=sides)
    assert (report.rows, counts(report)) == (30, (0, 0, 1, 0, 0))


async def test_tombstone_is_as_good_as_no_row(world: World) -> None:
    await world.both(NUMBERED)
    for number in (0, 7, 29):
        await world.direction.remove(number)
        await world.copy(number, "", op="d", place=2)
    assert (await world.compare()).is_in_agreement

    await world.direction.put(7, "back, and nobody has told the copy")
    assert counts(await world.compare()) == (1, 0, 0, 0, 0)
    assert counts(await world.compare(repair=True)) == (1, 0, 0, 0, 1)
    assert (await world.direction.copied())[7] == "back, and nobody has told the copy"


async def test_copy_of_a_source_that_lost_everything_is_all_extra(world: World) -> None:
    for number in range(40):
        await world.copy(number, "left over")
    assert counts(await world.compare()) == (0, 40, 0, 0, 0)
    assert counts(await world.compare(repair=True)) == (0, 40, 0, 0, 40)
    assert await world.direction.copied() == {}
    # They are tombstones: a replay of what made them does not bring them back.
    world.offsets = 0
    assert len((await world.copy(3, "left over")).applied) == 0


async def test_copy_that_was_never_made_is_all_missing_and_is_made(world: World) -> None:
    for number, content in NUMBERED.items():
        await world.direction.put(number, content)
    assert counts(await world.compare(repair=True)) == (30, 0, 0, 0, 30)
    assert await world.direction.copied() == NUMBERED
    assert (await world.compare()).is_in_agreement


async def test_every_difference_is_mended_and_nothing_else_is_touched(world: World) -> None:
    await world.both(NUMBERED)
    events = {number: await world.direction.stored_event(number) for number in NUMBERED}
    await world.direction.put(100, "missing")
    await world.copy(200, "extra")
    await world.direction.corrupt(14, "wrong")
    report = await world.compare(repair=True)
    assert counts(report) == (1, 1, 1, 0, 3)
    assert report.is_in_agreement
    assert await world.direction.copied() == {**NUMBERED, 100: "missing"}
    assert {number: await world.direction.stored_event(number) for number in NUMBERED} == events
    assert (await world.compare()).found == 0


async def test_command_mends_with_the_connections_that_it_makes_itself(world: World) -> None:
    for number in range(3):
        await world.copy(number, "left over")
    names = ("mysql_url", "mongodb_url", "kafka_bootstrap_servers", "sync_group_id")
    settings = ReconcileSettings.model_validate({name: getattr(world.settings, name) for name in names})
    asked = Asked([], Wanted(repair=True))
    (report,) = await cli._reconcile([world.route], asked, settings, lambda *_: None)
    assert counts(report) == (0, 3, 0, 0, 3)
    assert await world.direction.copied() == {}


async def test_suspects_of_two_ranges_settle_one_after_the_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They ask the broker by the same consumer, and each has it read what it is about."""
    await world.both(NUMBERED)
    for number in NUMBERED:
        await world.direction.corrupt(number, "wrong")
    monkeypatch.setattr("sync_service.reconciliation.compare.SUSPECTS_AT_ONCE", 5)
    asking, most = 0, 0

    def watched(ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def ask_and_count(*arguments: Any) -> Any:
            nonlocal asking, most
            asking += 1
            most = max(most, asking)
            try:
                return await ask(*arguments)
            finally:
                asking -= 1

        return ask_and_count

    for name in ("drained", "newest"):
        monkeypatch.setattr(Topic, name, watched(getattr(Topic, name)))
    assert counts(await world.compare(repair=True)) == (0, 0, 30, 0, 30)
    assert most == 1
    assert await world.direction.copied() == NUMBERED


async def test_sample_compares_some_ranges_only(world: World) -> None:
    await world.both(NUMBERED)
    report = await world.compare(sample=2)
    assert 2 < report.rows <= 14
    assert report.is_sample
    assert (await world.compare(sample=1000)).rows == 30


@pytest.mark.parametrize("lost", ["update", "insert", "delete"])
async def test_mended_row_yields_to_later_events_and_to_no_earlier_one(world: World, lost: str) -> None:
    """Of three events, the one at place 5 got lost on its way to the copy. (It may lie in the dead letters.)"""
    direction = world.direction
    if lost != "insert":
        await world.copy(1, "first", op="c", place=3)
    lost_event = {"update": ("second", "u"), "insert": ("second", "c"), "delete": ("", "d")}[lost]
    if lost == "delete":
        await direction.remove(1)
    else:
        await direction.put(1, "second")
    # The topic has had an event of another row since, which the sync is done with.
    await world.send(direction.event(9, "x", place=4), direction.event(9, "y", place=7))
    await direction.put(9, "y")
    world.start_sync()
    await eventually(direction.copied, lambda rows: rows.get(9) == "y")

    report = await world.compare(repair=True)
    assert (report.found, report.mended) == (1, 1)
    mended = {9: "y"} if lost == "delete" else {1: "second", 9: "y"}
    assert await direction.copied() == mended

    # Replayed by Connect, as a redelivery, or out of the dead letters: what is older changes nothing.
    world.offsets = 100
    content, op = lost_event
    for flow in Flow.LIVE, Flow.REPLAY:
        assert len((await world.copy(1, "first", op="c", place=3, flow=flow)).applied) == 0
        assert len((await world.copy(1, content + " again", op="u", place=5, flow=flow)).applied) == 0
    assert await direction.copied() == mended

    # What is newer wins.
    assert len((await world.copy(1, "third", op="u", place=8)).applied) == 1
    assert (await direction.copied())[1] == "third"
    assert op in "cud"


async def test_missing_row_mended_without_any_event_yields_to_every_live_one_and_to_no_dead_letter(
    world: World,
) -> None:
    await world.direction.put(1, "from the source")
    assert (await world.compare(repair=True)).mended == 1
    assert len((await world.copy(1, "a dead letter", place=1, flow=Flow.REPLAY)).applied) == 0
    assert len((await world.copy(1, "an event", place=1)).applied) == 1
    assert await world.direction.copied() == {1: "an event"}


class Overtaken:
    """A sink before whose write the sync writes something newer."""

    def __init__(self, sink: Sink, newer: Sequence[Change]) -> None:
        self._sink = sink
        self._newer = newer
        self.overtaken = 0

    async def prepare(self) -> None:
        await self._sink.prepare()

    async def purge(self) -> None:
        await self._sink.purge()

    async def write(self, changes: Sequence[Change], flow: Flow = Flow.LIVE) -> Written:
        self.overtaken += len((await self._sink.write(self._newer)).applied)
        return await self._sink.write(changes, flow)


async def test_repair_does_not_overwrite_what_the_sync_has_written_meanwhile(world: World) -> None:
    await world.both({1: "old", 2: "old", 3: "old"})
    for number in (1, 3, 4):
        await world.direction.put(number, "seen by the repair")
    await world.direction.remove(2)
    world.offsets = 50
    newer = [world.change(number, f"newer {number}", place=9) for number in (1, 2, 4)]
    sink = Overtaken(world.sides.sink, newer)
    report = await world.compare(repair=True, sides=replace(world.sides, sink=sink))
    assert sink.overtaken == 3
    expected = {1: "newer 1", 2: "newer 2", 3: "seen by the repair", 4: "newer 4"}
    assert await world.direction.copied() == expected
    # The source has moved on too, as far as the report can know.
    assert (report.mended, report.unsettled) == (1, 3)


async def test_writes_that_go_on_make_no_difference(world: World) -> None:
    """Every event is held back for a while, so that the copy is always behind."""
    direction = world.direction
    operation = world.start_sync()
    expected = dict.fromkeys(range(40), "0")
    for number, content in expected.items():
        await direction.put(number, content)
        await world.send(direction.event(number, content, op="c", place=number + 1))
    await eventually(direction.copied, lambda rows: len(rows) == 40)
    stop, sent = asyncio.Event(), 0

    async def write() -> None:
        nonlocal sent
        while not stop.is_set():
            number = (7 * sent) % 40
            sent += 1
            if sent % 5 == 0 and number in expected:
                await direction.remove(number)
                del expected[number]
                event = direction.event(number, "", op="d", place=sent + 100)
            else:
                expected[number] = str(sent)
                await direction.put(number, str(sent))
                event = direction.event(number, str(sent), place=sent + 100)
            await asyncio.sleep(0.02)
            await world.send(event)

    writing = asyncio.create_task(write())
    reports = [await world.compare(repair=repair) for repair in (False, True, False)]
    stop.set()
    await writing
    assert sent > 1
    assert [report.found for report in reports] == [0, 0, 0]
    await eventually(direction.copied, lambda rows: rows == expected)
    assert operation.problem is None
    report = await world.compare()
    assert (report.found, report.unsettled) == (0, 0)


async def test_events_that_nobody_applies_leave_it_open(world: World) -> None:
    await world.both(NUMBERED)
    await world.direction.put(1, "new")
    await world.send(world.direction.event(1, "new", place=2))
    report = await world.compare(patience=0.5)
    assert (counts(report), report.is_lagging) == ((0, 0, 0, 1, 0), True)
    assert not report.is_in_agreement
    assert await world.direction.copied() == NUMBERED


async def test_database_that_dies_in_the_middle_is_an_error_of_one_sentence(world: World, stack: Stack) -> None:
    await world.both(NUMBERED)
    looks = 0
    checksum = world.sides.copy.checksum

    async def dying(within: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 2:
            stack.kill("mysql")
        return await checksum(within)

    world.sides.copy.checksum = dying  # type: ignore[method-assign]
    try:
        with pytest.raises(CannotCompare, match="MySQL can't be read"):
            await world.compare()
    finally:
        await asyncio.to_thread(stack.start, "mysql")
        if isinstance(world.direction, Users | Tweets):
            await world.direction.engine.dispose()


@pytest.mark.parametrize("world", ["tweets"], indirect=True)
async def test_source_row_that_no_copy_can_have_is_named_with_the_reason(world: World) -> None:
    assert isinstance(world.direction, Tweets)
    await world.both(NUMBERED)
    await world.direction.source.insert_many(
        [{"_id": ObjectId("f" * 24), "text": 5}, {"_id": 7, "text": "an id that is no text"}]
    )
    report = await world.compare(repair=True)
    assert (report.unfit, report.found, report.mended) == (2, 2, 0)
    assert not report.is_in_agreement
    assert all(example.reason for example in report.examples)
    assert json.dumps([example.as_json() for example in report.examples])
    assert await world.direction.copied() == NUMBERED


@pytest.mark.parametrize("world", ["tweets"], indirect=True)
async def test_row_that_the_copy_does_not_take_is_not_mended_and_does_not_keep_others_from_it(world: World) -> None:
    assert isinstance(world.direction, Tweets)
    await world.both(NUMBERED)
    await world.direction.put(50, "taken")
    await world.direction.source.update_one({"_id": ObjectId(f"{7:024x}")}, {"$set": {"lang": "x" * 21}})
    report = await world.compare(repair=True)
    assert (counts(report), report.is_in_agreement) == ((1, 0, 1, 0, 1), False)
    (refused,) = (example for example in report.examples if example.outcome == "not-mended")
    assert "lang" in (refused.reason or "")
    assert (await world.direction.copied())[50] == "taken"


@pytest.mark.parametrize("world", ["users"], indirect=True)
async def test_document_that_no_sync_has_written_is_extra_and_becomes_a_tombstone(world: World) -> None:
    assert isinstance(world.direction, Users)
    await world.both(NUMBERED)
    await world.direction.database["users_copy"].insert_one({"_id": "u00099", "name": "by hand"})
    report = await world.compare(repair=True)
    assert counts(report) == (0, 1, 0, 0, 1)
    assert await world.direction.copied() == NUMBERED


@pytest.mark.parametrize("world", ["users"], indirect=True)
async def test_table_whose_keys_are_in_another_order_is_compared_rightly(
    world: World, engine: AsyncEngine, source_schema: str
) -> None:
    """MySQL's default order puts `a` before `B`, MongoDB's the other way round."""
    assert isinstance(world.direction, Users)
    async with engine.begin() as connection:
        await connection.execute(
            text(f"ALTER TABLE {source_schema}.users MODIFY id VARCHAR(36) COLLATE utf8mb4_0900_ai_ci")
        )
    try:
        client = AsyncIOMotorClient[dict[str, Any]](world.settings.mongodb_url.get_secret_value(), tz_aware=True)
        sides = await open_sides(world.route, engine, client)
        for number, key in enumerate("aBcDéFgHÎñ"):
            row = {**world.direction.row(number, "x"), "id": key}
            values = [value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in row.values()]
            async with engine.begin() as connection:
                insert = f"INSERT INTO {source_schema}.users ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})"  # noqa: S608 - names of ours
                await connection.exec_driver_sql(insert, tuple(values))
        assert counts(await world.compare(sides=sides, repair=True, rows_in_a_range=3)) == (10, 0, 0, 0, 10)
        report = await world.compare(sides=sides, rows_in_a_range=3)
        assert (report.rows, report.found) == (10, 0)
        client.close()
    finally:
        await world.direction.clear()
        async with engine.begin() as connection:
            await connection.execute(text(f"ALTER TABLE {source_schema}.users MODIFY id VARCHAR(36) COLLATE ascii_bin"))


@pytest.mark.parametrize("world", ["users"], indirect=True)
async def test_table_that_is_not_there_is_an_error_of_one_sentence(world: World, engine: AsyncEngine) -> None:
    assert isinstance(world.direction, Users)
    client = AsyncIOMotorClient[dict[str, Any]](world.settings.mongodb_url.get_secret_value())
    route = world.route.model_copy(update={"topic": "cdc.no_such.table"})
    with pytest.raises(CannotCompare, match=r"shows no table no_such\.table"):
        await open_sides(route, engine, client)
    client.close()


async def test_collection_with_a_key_of_two_fields_is_compared_and_mended(
    settings: Settings, engine: AsyncEngine
) -> None:
    """As likes and follows have. The fields of an `_id` may be in any order, and MongoDB sorts by it."""
    suffix = secrets.token_hex(4)
    route = Route.model_validate(
        {
            "name": "likes",
            "topic": f"test.source_{suffix}.likes",
            "target": {"store": "mysql", "table": "favours"},
            "key": {
                "user_id": {"from": "_id.user_id", "type": "string"},
                "tweet_id": {"from": "_id.tweet_id", "type": "string"},
            },
            "fields": {"created_at": "datetime"},
        }
    )
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "CREATE TABLE favours_copy (user_id CHAR(36) COLLATE ascii_bin, tweet_id CHAR(24) COLLATE ascii_bin, "
                "created_at DATETIME(6), sync_event VARCHAR(80) COLLATE ascii_bin NOT NULL, "
                "sync_epoch VARCHAR(255) COLLATE ascii_bin NOT NULL, sync_position VARCHAR(80) COLLATE ascii_bin, "
                "sync_operation CHAR(1) COLLATE ascii_bin NOT NULL, sync_deleted_at DATETIME(6), "
                "PRIMARY KEY (user_id, tweet_id))"
            )
        )
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(route.topic, 1, 1)])
    await admin.close()
    client = AsyncIOMotorClient[dict[str, Any]](settings.mongodb_url.get_secret_value(), tz_aware=True)
    source = client[f"source_{suffix}"]["likes"]
    likes = [(f"u{number % 4}", ObjectId(f"{number:024x}")) for number in range(30)]
    await source.insert_many(
        [{"_id": {"tweet_id": tweet, "user_id": user}, "created_at": WHEN} for user, tweet in likes[:20]]
        + [{"_id": {"user_id": user, "tweet_id": tweet}, "created_at": WHEN} for user, tweet in likes[20:]]
    )
    sides = await open_sides(route, engine, client)

    async def compare(*, repair: bool = False) -> RouteReport:
        async with Topic(KafkaClients.of(settings), route.topic, settings.sync_group_id, patience=30) as topic:
            return await Comparison(route, sides, topic, Wanted(repair=repair, rows_in_a_range=7)).run()

    async def copied() -> set[tuple[str, str]]:
        async with engine.connect() as connection:
            live = text("SELECT user_id, tweet_id FROM favours_copy WHERE sync_deleted_at IS NULL")
            return {(row.user_id, row.tweet_id) for row in await connection.execute(live)}

    try:
        assert counts(await compare(repair=True)) == (30, 0, 0, 0, 30)
        assert await copied() == {(user, str(tweet)) for user, tweet in likes}
        assert (await compare()).found == 0

        # One of each order is gone. Rows that only the range of the table has, by its other order, are no extras.
        for identifier in (
            {"tweet_id": likes[3][1], "user_id": likes[3][0]},
            {"user_id": likes[25][0], "tweet_id": likes[25][1]},
        ):
            assert (await source.delete_one({"_id": identifier})).deleted_count == 1
        assert counts(await compare(repair=True)) == (0, 2, 0, 0, 2)
        gone = {(likes[number][0], str(likes[number][1])) for number in (3, 25)}
        assert await copied() == {(user, str(tweet)) for user, tweet in likes} - gone
        assert (await compare()).found == 0
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("DROP TABLE favours_copy"))
        await client.drop_database(f"source_{suffix}")
        client.close()
