"""Both sinks on real databases, compared with the pure rule."""

import json
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import create_engine
from support.stored_copies import State, StoredCopy, StoredMysqlCopy, empty_copy, refusing_trigger
from sync_service.apply.changes import Change
from sync_service.apply.ordering import ApplyMode, Version, applies, merged, offset, topic_partition
from sync_service.debezium.positions import LogPosition
from sync_service.routes.config import Route
from sync_service.sinks.base import TOMBSTONE_LIFETIME, Rejected, RouteRefused, Sink, Unavailable, UnknownFailure
from sync_service.sinks.mongodb import sink as mongodb_sink
from sync_service.sinks.mongodb.sink import MongoSink
from sync_service.sinks.mysql.schema import change_tables
from sync_service.sinks.mysql.sink import MysqlSink, engine_for_sinks

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]

TOPICS = ("a" * 32, "b" * 32)
GENERATIONS = ("mysql-gtid:uuid-1/1", "mysql-gtid:uuid-2/1", "mysql-gtid:uuid-1/2")


def any_version(chance: random.Random, row: int) -> Version:
    position = chance.choice([None, *range(6)])
    earliest = chance.randrange(6)
    return Version(
        # An event is about one row only.
        topic_partition(chance.choice(TOPICS), 2 * row + chance.randrange(2)),
        offset(chance.randrange(6)),
        None
        if position is None
        else LogPosition(chance.choice(GENERATIONS), f"{position:05d}", earliest, earliest + chance.randrange(3)),
        chance.choice("cudrm"),
    )


def by_the_rule(stored: State | None, version: Version, content: str, mode: ApplyMode) -> State | None:
    if not applies(version, stored[0] if stored else None, mode):
        return stored
    return merged(version, stored[0] if stored else None), None if version.operation == "d" else content


async def disagreements(copy: StoredCopy, seed: int, *, keys: int = 250, rounds: int = 8) -> Sequence[str]:
    """Many rows, each with a history of its own of any versions in any order: where do rule and store differ?"""
    chance = random.Random(seed)  # noqa: S311 - a test that can be repeated
    expected: dict[str, State | None] = {}
    events: dict[tuple[str, str], Version] = {}
    expected_applied = applied = 0
    for _ in range(rounds):
        mode = ApplyMode.RETRY if chance.random() < 0.25 else ApplyMode.LIVE
        changes = []
        for row in range(keys):
            key = f"{row:024x}"
            # An event that comes again is the same event.
            version = any_version(chance, row)
            version = events.setdefault((key, version.event), version)
            content = f"{version.event} {version.position} {version.operation}"
            before = expected.get(key)
            expected[key] = by_the_rule(before, version, content, mode)
            expected_applied += applies(version, before[0] if before else None, mode)
            changes.append(copy.change(key, version, content))
        applied += len((await copy.sink.write(changes, mode)).applied)
    stored = await copy.stored()
    wrong = [
        f"{key}: {stored.get(key)} instead of {state}" for key, state in expected.items() if stored.get(key) != state
    ]
    if not wrong and applied != expected_applied:
        wrong.append(f"{applied} changes counted as applied instead of {expected_applied}")
    return wrong


@pytest.mark.parametrize("seed", [1, 2])
async def test_store_agrees_with_the_rule_about_repairs(copy: StoredCopy, seed: int) -> None:
    """Some of rows that are still what was looked at, some of others, some of rows that are not there."""
    chance = random.Random(seed)  # noqa: S311 - a test that can be repeated
    stored = {f"{row:024x}": any_version(chance, row) for row in range(200)}
    await copy.sink.write([copy.change(key, version, "before") for key, version in stored.items()])
    before = await copy.stored()
    expected: dict[str, State | None] = {}
    repairs = []
    for row in range(250):
        key, other = f"{row:024x}", any_version(chance, row)
        named = stored[key] if key in stored and chance.random() < 0.5 else other
        repair = Version(named.topic_partition, named.offset, other.position, chance.choice("rd"))
        expected[key] = by_the_rule(before.get(key), repair, "mended", ApplyMode.REPAIR)
        repairs.append(copy.change(key, repair, "mended"))
    await copy.sink.write(repairs, ApplyMode.REPAIR)
    after = await copy.stored()
    assert {key: after.get(key) for key in expected} == expected
    assert sum(state is not None and state[1] == "mended" for state in after.values()) > 50


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_store_agrees_with_the_rule_for_events_in_any_order(copy: StoredCopy, seed: int) -> None:
    assert await disagreements(copy, seed) == []


async def test_without_the_guard_the_store_disagrees(copy: StoredCopy, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(copy, StoredMysqlCopy):
        sink = copy.sink
        assert isinstance(sink, MysqlSink)
        monkeypatch.setattr(sink, "_update", {mode: sink._on_duplicate("TRUE") for mode in ApplyMode})
    else:
        monkeypatch.setattr(mongodb_sink, "_guard", lambda *_: True)
    assert await disagreements(copy, 1) != []


def log_position(number: int) -> LogPosition:
    return LogPosition(GENERATIONS[1], f"{number:05d}", number, number)


def streaming(number: int, op: str = "u") -> Version:
    return Version(topic_partition(TOPICS[0], 0), offset(number), log_position(number), op)


async def test_insert_update_delete_are_seen_by_readers_and_counted(copy: StoredCopy) -> None:
    key = "1" * 24
    for position, op, content, seen in (
        (1, "c", "first", {key: "first"}),
        (2, "u", "second", {key: "second"}),
        (3, "d", "", {}),
    ):
        written = await copy.sink.write([copy.change(key, streaming(position, op), content)])
        assert (len(written.applied), len(written.skipped)) == (1, 0)
        assert await copy.readable() == seen
    assert (await copy.stored())[key] == (streaming(3, "d"), None)
    assert await copy.sink.version((key,)) == streaming(3, "d")
    assert await copy.sink.version(("0" * 24,)) is None


async def test_replayed_insert_can_not_resurrect_a_deleted_row(copy: StoredCopy) -> None:
    key = "1" * 24
    await copy.sink.write([copy.change(key, streaming(5, "d"), "")])
    replayed = Version(topic_partition(TOPICS[0], 0), offset(9), log_position(4), "c")
    written = await copy.sink.write([copy.change(key, replayed, "undead")])
    assert (len(written.applied), len(written.skipped)) == (0, 1)
    assert await copy.readable() == {}


async def test_repeated_write_changes_nothing(copy: StoredCopy) -> None:
    changes = [copy.change(f"{n:024x}", streaming(n), f"text {n}") for n in range(1, 50)]
    await copy.sink.write(changes)
    before = await copy.stored()
    await copy.sink.write(changes)
    assert await copy.stored() == before


async def test_tombstone_has_no_values(mongo_sink: MongoSink, database: "Database") -> None:
    values = {"name": "Ada", "email": "ada@example.com"}
    await mongo_sink.write([Change(("u1",), values, streaming(1, "c"))])
    await mongo_sink.write([Change(("u1",), None, streaming(2, "d"))])
    document = await database["users_copy"].find_one({"_id": "u1"})
    assert document is not None
    assert document.keys() == {"_id", "_sync"}


async def test_tombstone_in_mysql_has_no_values(mysql_sink: MysqlSink, engine: AsyncEngine) -> None:
    copy = StoredMysqlCopy(mysql_sink, engine)
    key = "2" * 24
    await mysql_sink.write([copy.change(key, streaming(1, "c"), "personal")])
    await mysql_sink.write([copy.change(key, streaming(2, "d"), "")])
    async with engine.connect() as connection:
        statement = text("SELECT * FROM tweets_copy WHERE id = :key")
        row = (await connection.execute(statement, {"key": key})).mappings().one()
    assert {name for name, value in row.items() if value is not None} == {
        "id", "sync_event", "sync_epoch", "sync_position", "sync_operation", "sync_deleted_at", "sync_source_id",
    }  # fmt: skip


async def test_deleted_row_is_kept_with_its_values_and_returns_as_a_live_one(keeping_copy: StoredCopy) -> None:
    key, sink = "1" * 24, keeping_copy.sink
    for number, op, content, live, kept in (
        (1, "c", "first", {key: "first"}, {}),
        (2, "d", "", {}, {key: "first"}),
        (4, "d", "", {}, {key: "first"}),
        (3, "u", "late", {}, {key: "first"}),
        (5, "c", "second", {key: "second"}, {}),
    ):
        await sink.write([keeping_copy.change(key, streaming(number, op), content)])
        assert (await keeping_copy.readable(), await keeping_copy.kept()) == (live, kept)


async def test_row_that_leaves_in_a_snapshot_is_kept_with_the_stored_position(keeping_copy: StoredCopy) -> None:
    key, sink = "1" * 24, keeping_copy.sink
    await sink.write([keeping_copy.change(key, streaming(5, "c"), "first")])
    read = Version(topic_partition(TOPICS[0], 0), offset(6), None, "r")
    await sink.write([Change((key,), None, read)])
    assert await keeping_copy.kept() == {key: "first"}
    assert await sink.version((key,)) == merged(read, streaming(5, "c"))


async def test_tombstone_of_a_row_that_never_was_in_the_copy_is_not_shown(keeping_copy: StoredCopy) -> None:
    key = "1" * 24
    await keeping_copy.sink.write([keeping_copy.change(key, streaming(5, "d"), "")])
    assert (await keeping_copy.readable(), await keeping_copy.kept()) == ({}, {})
    late = await keeping_copy.sink.write([keeping_copy.change(key, streaming(4, "c"), "late")])
    assert len(late.skipped) == 1


async def test_kept_rows_are_not_purged_and_other_tombstones_are(
    keeping_copy: StoredCopy, engine: AsyncEngine, database: "Database"
) -> None:
    kept, bare, sink = "1" * 24, "2" * 24, keeping_copy.sink
    await sink.write([keeping_copy.change(kept, streaming(1, "c"), "first")])
    await sink.write([keeping_copy.change(each, streaming(2, "d"), "") for each in (kept, bare)])
    if isinstance(keeping_copy, StoredMysqlCopy):
        long_ago = (datetime.now(UTC) - TOMBSTONE_LIFETIME - timedelta(hours=1)).replace(tzinfo=None)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE kept_copy SET sync_deleted_at = :moment"), {"moment": long_ago})
        await sink.purge()
        assert (await keeping_copy.stored()).keys() == {kept}
    else:
        # MongoDB's own task, once a minute, deletes what the index has.
        (name,) = [name for name, each in (await database["users_copy"].index_information()).items()
                   if "expireAfterSeconds" in each]  # fmt: skip
        indexed = database["users_copy"].find(
            {"_sync.kept": None, "_sync.deleted_at": {"$lt": datetime.now(UTC) + timedelta(hours=1)}}, hint=name
        )
        assert [each["_id"] for each in await indexed.to_list(None)] == [bare]
    assert await keeping_copy.kept() == {kept: "first"}


async def test_row_that_changes_while_the_option_is_off_is_not_kept(
    keeping_copy: StoredCopy, engine: AsyncEngine, database: "Database", routes: dict[str, Route]
) -> None:
    untouched, recreated = "1" * 24, "2" * 24
    for number, op in ((1, "c"), (2, "d")):
        changes = [keeping_copy.change(key, streaming(number, op), "first") for key in (untouched, recreated)]
        await keeping_copy.sink.write(changes)
    plain: Sink
    if isinstance(keeping_copy, StoredMysqlCopy):
        target = routes["tweets"].target.model_copy(update={"table": "kept"})
        plain = MysqlSink(engine, routes["tweets"].model_copy(update={"target": target}))
    else:
        plain = MongoSink(database, routes["users"])
    for number, op in ((3, "c"), (4, "d")):
        await plain.write([keeping_copy.change(recreated, streaming(number, op), "second")])
    assert await keeping_copy.kept() == {untouched: "first"}


async def test_table_in_mysql_follows_the_route(schema_url: str, engine: AsyncEngine, routes: dict[str, Route]) -> None:
    target = routes["tweets"].target.model_copy(update={"table": "switched"})
    seen = []
    try:
        for number, deletes in enumerate(("tombstone", "keep-row", "tombstone")):
            route = routes["tweets"].model_copy(update={"target": target, "deletes": deletes})
            await change_tables(schema_url, [route], apply=True)
            assert await change_tables(schema_url, [route], apply=False) == []
            sink = MysqlSink(engine, route)
            await sink.prepare()
            copy, key = StoredMysqlCopy(sink, engine, "switched"), f"{number:024x}"
            await sink.write([copy.change(key, streaming(1, "c"), deletes)])
            await sink.write([copy.change(key, streaming(2, "d"), "")])
            async with engine.connect() as connection:
                shown = (await connection.execute(text("SELECT * FROM switched"))).mappings().all()
            seen.append([(row["id"][-1], row["text"], "deleted_at" in row) for row in shown])
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("DROP VIEW switched"))
            await connection.execute(text("DROP TABLE switched_copy"))
    assert seen == [[], [("1", "keep-row", True)], []]


@pytest.mark.parametrize("deletes", ["keep-row", "tombstone"])
async def test_view_in_mongodb_follows_the_route(database: "Database", routes: dict[str, Route], deletes: str) -> None:
    before = "tombstone" if deletes == "keep-row" else "keep-row"
    for each in (before, deletes):
        sink = MongoSink(database, routes["users"].model_copy(update={"deletes": each, "tombstones": "purge"}))
        await sink.prepare()
        await sink.write([Change(("u1",), {"name": "Ada"}, streaming(1 if each == before else 3, "c"))])
    await sink.write([Change(("u1",), None, streaming(4, "d"))])
    shown = [document["name"] async for document in database["users"].find()]
    assert shown == (["Ada"] if deletes == "keep-row" else [])


@pytest.mark.parametrize("tombstones", ["purge", "keep"])
async def test_only_old_tombstones_are_purged_unless_the_route_keeps_them(
    mysql_sink: MysqlSink, engine: AsyncEngine, routes: dict[str, Route], tombstones: str
) -> None:
    old, young = "3" * 24, "4" * 24
    await mysql_sink.write([Change((key,), None, streaming(1, "d")) for key in (old, young)])
    long_ago = datetime.now(UTC) - TOMBSTONE_LIFETIME - timedelta(hours=1)
    async with engine.begin() as connection:
        statement = text("UPDATE tweets_copy SET sync_deleted_at = :long_ago WHERE id = :old")
        await connection.execute(statement, {"long_ago": long_ago.replace(tzinfo=None), "old": old})
    await MysqlSink(engine, with_tombstones(routes["tweets"], tombstones)).purge()
    stored = await StoredMysqlCopy(mysql_sink, engine).stored()
    assert (old in stored) == (tombstones == "keep")
    assert young in stored


def with_tombstones(route: Route, tombstones: str) -> Route:
    return route.model_copy(update={"tombstones": tombstones})


async def lifetimes_of_tombstones(database: "Database") -> list[float]:
    indexes = await database["users_copy"].index_information()
    return [index["expireAfterSeconds"] for index in indexes.values() if "expireAfterSeconds" in index]


async def test_route_that_keeps_tombstones_drops_the_ttl_index(database: "Database", routes: dict[str, Route]) -> None:
    for tombstones, lifetimes in (
        ("purge", [TOMBSTONE_LIFETIME.total_seconds()]),
        ("keep", []),
        ("keep", []),
        ("purge", [TOMBSTONE_LIFETIME.total_seconds()]),
    ):
        await MongoSink(database, with_tombstones(routes["users"], tombstones)).prepare()
        assert await lifetimes_of_tombstones(database) == lifetimes


async def test_missing_index_has_its_fields_in_another_order(database: "Database", routes: dict[str, Route]) -> None:
    route = routes["users"].model_copy(update={"indexes": [["username", "name"]]})
    sink = MongoSink(database, route)
    await database["users_copy"].create_index([("name", 1), ("username", 1)])
    assert any('createIndex({"username": 1, "name": 1}' in command for command in await sink.missing())
    await sink.prepare()
    assert await sink.missing() == []


async def test_mongodb_route_without_any_index_can_be_prepared(database: "Database", routes: dict[str, Route]) -> None:
    route = with_tombstones(routes["users"], "keep").model_copy(update={"indexes": []})
    await MongoSink(database, route).prepare()
    assert {"users", "users_copy"} <= set(await database.list_collection_names())


async def test_built_in_route_keeps_tombstones_of_users(mongo_sink: MongoSink, database: "Database") -> None:
    await mongo_sink.write([Change(("u1",), None, streaming(1, "d"))])
    tombstone = await database["users_copy"].find_one({"_id": "u1"})
    assert tombstone is not None
    assert isinstance(tombstone["_sync"]["deleted_at"], datetime)
    assert await lifetimes_of_tombstones(database) == []


@pytest.mark.parametrize(
    "value",
    [
        {"lang": "x" * 21},
        {"version": 2**40},
        {"reply_to": "é" * 24},
        {"entities": float("nan")},
        {"entities": {"deep": json.loads("[" * 900 + "]" * 900)}},
        {"entities": {"k" * 70_000: 1}},
    ],
)
async def test_value_that_mysql_can_not_hold_is_rejected_as_data(
    mysql_sink: MysqlSink, engine: AsyncEngine, value: dict[str, Any]
) -> None:
    copy = StoredMysqlCopy(mysql_sink, engine)
    bad = copy.change("5" * 24, streaming(1), "bad")
    with pytest.raises(Rejected):
        await mysql_sink.write([Change(bad.key, {**(bad.values or {}), **value}, bad.version)])


async def test_mode_of_the_server_changes_no_value(
    mysql_root_url: str, schema_url: str, routes: dict[str, Route]
) -> None:
    """Without the strict mode MySQL would cut the text, and with NO_BACKSLASH_ESCAPES double its backslashes."""
    root = create_engine(mysql_root_url)
    async with root.begin() as connection:
        await connection.execute(text("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES'"))
    engine = engine_for_sinks(schema_url, pool_size=1)
    try:
        copy = StoredMysqlCopy(MysqlSink(engine, routes["tweets"]), engine)
        change = copy.change("5" * 24, streaming(1), "a\\b'c")
        with pytest.raises(Rejected, match="1406"):
            await copy.sink.write([Change(change.key, {**(change.values or {}), "lang": "x" * 21}, change.version)])
        await copy.sink.write([change])
        assert (await copy.readable())["5" * 24] == "a\\b'c"
    finally:
        await engine.dispose()
        async with root.begin() as connection:
            await connection.execute(text("SET GLOBAL sql_mode = DEFAULT"))
        await root.dispose()


async def test_value_that_mongodb_can_not_hold_is_rejected_as_data(mongo_sink: MongoSink) -> None:
    for value in (2**70, "x" * (17 * 1024 * 1024), "\ud800"):
        with pytest.raises(Rejected):
            await mongo_sink.write([Change(("u1",), {"name": value}, streaming(1))])


async def test_value_that_a_unique_index_refuses_is_rejected_and_not_lost(
    mongo_sink: MongoSink, database: "Database"
) -> None:
    """The index was created by an operator: a route creates none."""
    await database["users_copy"].create_index("email", unique=True)
    await mongo_sink.write([Change(("u1",), {"email": "a@example.com"}, streaming(1))])
    for operation in "cu":
        same = Change(("u2",), {"email": "a@example.com"}, streaming(2, operation))
        with pytest.raises(Rejected, match="11000"):
            await mongo_sink.write([same])


async def test_rejected_document_is_found_beside_an_existing_one(mongo_sink: MongoSink, database: "Database") -> None:
    await database.command("collMod", "users_copy", validator={"name": {"$ne": "nobody"}})
    good = Change(("u1",), {"name": "Ada"}, streaming(1, "c"))
    refused = Change(("u2",), {"name": "nobody"}, streaming(2, "c"))
    await mongo_sink.write([good])
    with pytest.raises(Rejected, match="121"):
        await mongo_sink.write([good, refused])


async def test_dollars_in_values_are_data(mongo_sink: MongoSink, database: "Database") -> None:
    await mongo_sink.write([Change(("$name",), {"name": "$$ROOT", "email": {"$literal": 1}}, streaming(1))])
    document = await database["users"].find_one({"_id": "$name"})
    assert document == {"_id": "$name", "name": "$$ROOT", "email": {"$literal": 1}}


async def test_table_that_does_not_fit_the_route_is_the_route_s_error(
    engine: AsyncEngine, routes: dict[str, Any]
) -> None:
    route = routes["tweets"].model_copy(
        update={"fields": {**routes["tweets"].fields, "nope": routes["tweets"].fields["text"]}}
    )
    sink = MysqlSink(engine, route)
    with pytest.raises(RouteRefused, match="nope"):
        await sink.prepare()
    tweet = StoredMysqlCopy(sink, engine).change("7" * 24, streaming(1), "text")
    with pytest.raises(RouteRefused, match="nope"):
        await sink.write([Change(tweet.key, {**(tweet.values or {}), "nope": ""}, tweet.version)])


async def test_view_instead_of_the_collection_is_the_route_s_error(
    database: "Database", routes: dict[str, Route]
) -> None:
    await database.create_collection("users_copy", viewOn="others", pipeline=[])
    sink = MongoSink(database, routes["users"])
    with pytest.raises(RouteRefused, match=r"users_copy has to be a collection, and is a view"):
        await sink.prepare()
    with pytest.raises(RouteRefused, match="166"):
        await sink.write([Change(("u1",), {"name": "Ada"}, streaming(1))])


async def test_collection_instead_of_the_view_is_the_route_s_error(
    database: "Database", routes: dict[str, Route]
) -> None:
    """It may be the copy of another route: of `users` if this one is `users_copy`."""
    await database.create_collection("users")
    with pytest.raises(RouteRefused, match=r"\.users has to be a view, and is a collection"):
        await MongoSink(database, routes["users"]).prepare()


@pytest.mark.parametrize("store", ["mysql", "mongodb"])
async def test_server_that_is_away_is_no_error_of_a_row_or_a_route(routes: dict[str, Route], store: str) -> None:
    nothing = "127.0.0.1:1"
    engine = engine_for_sinks(f"mysql://account@{nothing}/tweets", pool_size=1)
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        f"mongodb://{nothing}/tweets", serverSelectionTimeoutMS=100
    )
    sink: Sink = MongoSink(client.get_default_database(), routes["users"])
    if store == "mysql":
        sink = MysqlSink(engine, routes["tweets"])
    with pytest.raises(Unavailable) as raised:
        await sink.prepare()
    assert type(raised.value) is Unavailable
    client.close()
    await engine.dispose()


async def test_error_that_no_list_has_is_unknown_in_mysql(mysql_sink: MysqlSink, engine: AsyncEngine) -> None:
    """An operator's trigger may signal any number."""
    copy = StoredMysqlCopy(mysql_sink, engine)
    async with refusing_trigger(engine):
        with pytest.raises(UnknownFailure, match="60000"):
            await mysql_sink.write([copy.change("8" * 24, streaming(1), "refused")])


async def test_error_that_no_list_has_is_unknown_in_mongodb(mongo_sink: MongoSink, database: "Database") -> None:
    """The index of an operator, whose errors have codes of single places in the server's source."""
    await database["users_copy"].create_index([("bio", "2dsphere")])
    with pytest.raises(UnknownFailure, match="167"):
        await mongo_sink.write([Change(("u1",), {"bio": {"type": "Point", "coordinates": [500, 1]}}, streaming(1))])


async def test_readers_lookups_use_indexes(mongo_sink: MongoSink, database: "Database") -> None:
    await mongo_sink.write([Change((f"u{n}",), {"username": f"name{n}"}, streaming(n)) for n in range(100)])
    for query in ({"_id": "u5"}, {"username": "name5"}):
        plan = await database.command("explain", {"find": "users", "filter": query}, verbosity="queryPlanner")
        assert "COLLSCAN" not in str(plan), query


async def test_redelivered_event_does_not_undo_a_repair(copy: StoredCopy) -> None:
    """Found by the fault suite: offsets set to the start brought back rows whose deletion had been lost and mended."""
    key, created = "1" * 24, streaming(5, "c")
    await copy.sink.write([copy.change(key, created, "created")])
    deleted = Version(created.topic_partition, created.offset, log_position(9), "d")
    assert len((await copy.sink.write([copy.change(key, deleted, "")], ApplyMode.REPAIR)).applied) == 1

    written = await copy.sink.write([copy.change(key, created, "created")])

    assert (len(written.applied), len(written.skipped)) == (0, 1)
    assert await copy.readable() == {}
    assert (await copy.stored())[key] == (deleted, None)


@pytest.fixture
async def small_packets(engine: AsyncEngine) -> AsyncIterator[int]:
    """The server's `max_allowed_packet` for new connections."""
    async with engine.connect() as connection:
        before = await connection.scalar(text("SELECT @@GLOBAL.max_allowed_packet"))
        await connection.execute(text(f"SET GLOBAL max_allowed_packet = {8 * 1024 * 1024}"))
        yield 8 * 1024 * 1024
        await connection.execute(text(f"SET GLOBAL max_allowed_packet = {before}"))


async def test_row_larger_than_a_packet_of_mysql_is_rejected_alone(
    schema_url: str, routes: dict[str, Route], small_packets: int
) -> None:
    """The server would close the connection, which looks like an outage."""
    engine = engine_for_sinks(schema_url, pool_size=1)
    await empty_copy(engine)
    sink = MysqlSink(engine, routes["tweets"])
    copy = StoredMysqlCopy(sink, engine)
    fitting, large = (copy.change(f"{row:024x}", streaming(row, "c"), "text") for row in (1, 2))
    assert fitting.values is not None
    assert large.values is not None
    fitting = replace(fitting, values={**fitting.values, "entities": "x" * (small_packets - 100_000)})
    large = replace(large, values={**large.values, "entities": "x" * small_packets})
    for changes in ([fitting, large], [large]):
        with pytest.raises(Rejected, match=rf"has \d+ bytes, and MySQL's max_allowed_packet is {small_packets}"):
            await sink.write(changes)
    assert (await sink.write([fitting])).applied == [fitting]
    assert (await copy.stored()).keys() == {fitting.key[0]}
    await empty_copy(engine)
    await engine.dispose()


# As the releases up to 0.1 have stored them: (generation, position) of an account's row, and of a tweet's.
FORMER_VERSIONS = (
    ("mysql:binlog/3e11fa47-71ca-11e1-9e33-c80aa9429562", "0000000003.00000000000000000700.0000000000"),
    ("mysql:binlog/", "0000000003.00000000000000000157.0000000000"),
    ("mongodb:cdc.mongo", "00000001795490254132.0000000001"),
    ("mongodb:cdc.mongo", None),
)


@pytest.mark.parametrize(("generation", "position"), FORMER_VERSIONS)
async def test_row_of_a_former_release_follows_its_source(
    copy: StoredCopy, generation: str, position: str | None
) -> None:
    """Its position proves nothing, so the next event is applied; a redelivery of its own event is none."""
    key, written = "1" * 24, streaming(5, "c")
    await copy.sink.write([copy.change(key, written, "written by a former release")])
    await copy.store_version(key, written.event, generation, position)

    redelivered = await copy.sink.write([copy.change(key, streaming(5, "c"), "redelivered")])
    retried_from_elsewhere = Version(topic_partition(TOPICS[1], 0), offset(9), log_position(9), "u")
    retried = await copy.sink.write([copy.change(key, retried_from_elsewhere, "retried")], ApplyMode.RETRY)
    assert (list(redelivered.applied), list(retried.applied)) == ([], [])
    assert (await copy.stored())[key] == (
        Version(written.topic_partition, written.offset, None, "c"),
        "written by a former release",
    )

    await copy.sink.write([copy.change(key, streaming(6), "followed")])
    assert (await copy.stored())[key] == (streaming(6), "followed")
    older = Version(topic_partition(TOPICS[0], 0), offset(7), log_position(3), "u")
    assert not (await copy.sink.write([copy.change(key, older, "older")])).applied


@pytest.mark.parametrize(("generation", "position"), FORMER_VERSIONS[:3])
async def test_snapshot_read_leaves_a_former_position_as_it_is(
    copy: StoredCopy, generation: str, position: str
) -> None:
    key, written = "1" * 24, streaming(5, "c")
    await copy.sink.write([copy.change(key, written, "written by a former release")])
    await copy.store_version(key, written.event, generation, position)
    read = Version(written.topic_partition, offset(6), None, "r")
    assert len((await copy.sink.write([copy.change(key, read, "read")])).applied) == 1
    assert (await copy.stored())[key] == (read, "read")
    assert await copy.stored_position(key) == (generation, position)
