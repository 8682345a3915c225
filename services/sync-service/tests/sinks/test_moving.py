"""A copy in MongoDB moves to another database while it is written and read."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import eq
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, Int64
from motor.motor_asyncio import AsyncIOMotorClient

from service_kit.moved_copy import STATES, MovedCopy
from service_kit.tokens import AccessToken
from support.jwt_issuer import Issuer
from support.polling import eventually
from sync_service.accounts import CopiedAccounts
from sync_service.apply.changes import Change
from sync_service.apply.ordering import ApplyMode, Version, offset, topic_partition
from sync_service.debezium.positions import LogPosition
from sync_service.routes.config import Route
from sync_service.sinks.base import RouteRefused
from sync_service.sinks.mongodb.moving import (
    Move,
    Mover,
    MovingSink,
    Operations,
    QuietTime,
    mongo_sink,
    readable_database,
)
from sync_service.sinks.mongodb.sink import MongoSink
from sync_service.sinks.registry import drop_copy

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Client = AsyncIOMotorClient[dict[str, Any]]
    Database = AsyncIOMotorDatabase[dict[str, Any]]

STREAM = topic_partition("7" * 32, 3)
QUIET = 0.2


def released(number: int, **changed: Any) -> dict[str, Any]:
    """A user as release 0.1.0 has copied it."""
    at = datetime(2026, 11, 24, 3, 17, 34, 81000, tzinfo=UTC)
    position = f"{4:010d}.{number:020d}.{0:010d}"
    version = {"stream": STREAM, "offset": offset(number), "epoch": "mysql:cdc.mysql/0f2a", "position": position}
    return {
        "_id": f"u{number}",
        "username": f"user{number}",
        "name": f"User {number}",
        "role": "customer",
        "is_active": True,
        "tokens_valid_after": None,
        "created_at": at,
        "updated_at": at,
        "_sync": {**version, "operation": "c", "deleted_at": None},
        **changed,
    }


def tombstone(number: int) -> dict[str, Any]:
    document = released(number)
    deleted = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
    return {"_id": document["_id"], "_sync": {**document["_sync"], "operation": "d", "deleted_at": deleted}}


def change(number: int, place: int, name: str | None) -> Change:
    """A later event of the user; a delete without a name."""
    values = None if name is None else {"name": name}
    position = LogPosition("mysql-gtid:0f2a", f"{place:020d}", place, place)
    return Change((f"u{number}",), values, Version(STREAM, offset(place), position, "u"))


@pytest.fixture
async def moved_to(database: "Database") -> AsyncIterator["Database"]:
    """The database to which copies move, which does not exist yet."""
    moved_to = database.client[f"{database.name}_{secrets.token_hex(2)}_auth"]
    yield moved_to
    await database.client.drop_database(moved_to.name)


@pytest.fixture
def route(routes: dict[str, Route], moved_to: "Database") -> Route:
    users = routes["users"]
    return users.model_copy(update={"target": users.target.model_copy(update={"database": moved_to.name})})


@pytest.fixture
async def old(database: "Database", routes: dict[str, Route]) -> MongoSink:
    """The sink of the earlier release, and what it has written."""
    sink = MongoSink(database, routes["users"])
    await sink.prepare()
    odd = {"name": float("nan"), "role": Decimal128("1.50"), "is_active": Int64(2**60)}
    live = [released(number) for number in range(1200)]
    await database["users_copy"].insert_many([*live, tombstone(9000), tombstone(9001), released(9002, **odd)])
    return sink


def sink_of(database: "Database", route: Route) -> MovingSink:
    sink = mongo_sink(database.client, route)
    assert isinstance(sink, MovingSink)
    return sink


async def always() -> bool:
    return True


def mover_of(
    sink: MovingSink,
    is_upgraded: Callable[[], Awaitable[bool]] = always,
    quiet: float = QUIET,
    connectors: int = 0,
) -> Mover:
    return Mover(sink.move, is_upgraded, quiet_seconds=quiet, connectors=connectors, stop_writing_seconds=0)


async def stored(database: "Database") -> dict[str, str]:
    """The documents as text, in which NaN is equal to itself."""
    return {str(each["_id"]): repr(each) async for each in database["users_copy"].find()}


async def is_gone(database: "Database") -> bool:
    return {"users", "users_copy"}.isdisjoint(await database.list_collection_names())


async def state_of(moved_to: "Database") -> set[str]:
    state = await moved_to[STATES].find_one({"_id": "users_copy"}) or {}
    return {name for name, value in state.items() if value is not None} - {"_id"}


async def test_copy_is_not_dropped_while_it_moves(
    old: MongoSink, database: "Database", moved_to: "Database", database_url: str, route: Route
) -> None:
    """The process that moves it would create it again."""
    sink = sink_of(database, route)
    await sink.prepare()
    with pytest.raises(RouteRefused, match="is moving from another database"):
        await drop_copy("", database_url, route)
    assert await moved_to.list_collection_names(filter={"name": "users_copy"})
    await mover_of(sink).run()
    await drop_copy("", database_url, route)
    assert not await moved_to.list_collection_names(filter={"name": "users_copy"})


async def test_copy_moves_with_its_versions_and_tombstones(
    old: MongoSink, database: "Database", moved_to: "Database", route: Route
) -> None:
    before = await stored(database)
    sink = sink_of(database, route)
    await sink.prepare()
    await mover_of(sink).run()
    assert await stored(moved_to) == before
    assert await moved_to["users"].count_documents({}) == 1201
    assert await is_gone(database)
    assert await state_of(moved_to) == {"moved_from", "complete_at", "retired_at", "dropped_at"}

    # A second start changes nothing.
    state = await moved_to[STATES].find_one()
    again = sink_of(database, route)
    await again.prepare()
    await mover_of(again).run()
    assert (await stored(moved_to), await moved_to[STATES].find_one()) == (before, state)
    assert await is_gone(database)
    await again.write([change(1, 5000, "later")])
    assert await is_gone(database)


class Crash(BaseException):
    pass


@pytest.fixture(params=[2, 20, 27, 28, 29, 30])
def crash(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a batch of the first or second pass, before each note of a step, before the drop, and after it."""
    taken, steps = 0, request.param

    def crashing(name: str) -> None:
        step = getattr(Move, name)

        async def taken_and_crashed(self: Move, *arguments: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken == steps:
                raise Crash
            return await step(self, *arguments)

        monkeypatch.setattr(Move, name, taken_and_crashed)

    for name in ("_copy", "note", "drop"):
        crashing(name)


@pytest.mark.usefixtures("old", "crash")
async def test_move_continues_after_a_crash_at_any_step(
    database: "Database", moved_to: "Database", route: Route
) -> None:
    before = await stored(database)
    crashes = 0
    while await state_of(moved_to) != {"moved_from", "complete_at", "retired_at", "dropped_at"}:
        sink = sink_of(database, route)
        await sink.prepare()
        try:
            await mover_of(sink).run()
        except Crash:
            crashes += 1
    assert crashes == 1
    assert await stored(moved_to) == before
    assert await is_gone(database)


@asynccontextmanager
async def running(work: Awaitable[Any]) -> AsyncIterator["asyncio.Task[Any]"]:
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


@dataclass
class Traffic:
    """Writes and reads users during a move. `written` is the latest change of each user that is surely written."""

    sink: MovingSink
    old: "Database"
    new: "Database"
    written: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(40), 0))
    is_dropped: bool = False
    seen_in_old: int = 0
    _place: int = 10_000
    _dice: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - test data

    async def write(self) -> None:
        while not self.is_dropped:
            chosen = self._dice.sample(list(self.written), 12)
            places = range(self._place, self._place + len(chosen))
            self._place += len(chosen)
            await self.sink.write([change(*each, str(each[1])) for each in zip(chosen, places, strict=True)])
            self.written.update(zip(chosen, places, strict=True))

    async def read(self) -> None:
        """Who sees a change has seen all before, and in no moment a user is in neither place."""
        copy = MovedCopy(self.old["users_copy"], self.new["users_copy"])
        while not self.is_dropped:
            await self._check(lambda user_id: find(copy, user_id))

    async def read_as_the_earlier_release(self) -> None:
        """Until the move is complete, and not so long that the old place may be dropped."""
        while "complete_at" not in await state_of(self.new) or self.seen_in_old < 200:
            await self._check(lambda user_id: self.old["users_copy"].find_one({"_id": user_id}))
            self.seen_in_old += 1

    async def move(self) -> None:
        await mover_of(self.sink, quiet=2.0).run()
        self.is_dropped = True

    async def _check(self, read: Callable[[str], Awaitable[dict[str, Any] | None]]) -> None:
        user = self._dice.choice(list(self.written))
        least = self.written[user]
        found = await read(f"u{user}")
        assert found is not None, "the user is in neither place"
        assert not least or int(found["name"]) >= least, "a reader has lost a change"


async def find(copy: MovedCopy, user_id: str) -> dict[str, Any] | None:
    return await copy.read(lambda users: users.find_one({"_id": user_id}), lambda found: found is not None)


async def test_changes_and_readers_of_all_releases_agree_throughout_the_move(
    old: MongoSink, database: "Database", moved_to: "Database", route: Route
) -> None:
    sink = sink_of(database, route)
    await sink.prepare()
    traffic = Traffic(sink, database, moved_to)
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for work in (
            *(traffic.write, traffic.read, traffic.read),
            *(traffic.read_as_the_earlier_release, traffic.move),
        ):
            group.create_task(work())
    assert traffic.seen_in_old >= 200
    last = {f"u{user}": str(latest) for user, latest in traffic.written.items() if latest}
    found = {each["_id"]: each["name"] async for each in moved_to["users_copy"].find({"_id": {"$in": list(last)}})}
    assert found == last
    assert await moved_to["users_copy"].count_documents({}) == 1203


async def test_process_of_the_earlier_release_delays_the_end_and_loses_nothing(
    old: MongoSink, database: "Database", moved_to: "Database", route: Route
) -> None:
    is_there = True

    async def is_upgraded() -> bool:
        return not is_there

    async def name_in_new_place() -> Any:
        return (await moved_to["users_copy"].find_one({"_id": "u7"}) or {}).get("name")

    sink = sink_of(database, route)
    await sink.prepare()
    async with running(mover_of(sink, is_upgraded).run()) as moving:
        for number in range(3):
            # It writes the old place alone, and deletes, too.
            name = f"by the earlier release {number}"
            await old.write([change(7, 10_000 + number, name), change(8, 10_100, None)])
            await eventually(name_in_new_place, partial(eq, name))
        assert await state_of(moved_to) == {"moved_from"}
        assert (await readable_database(database.client, route)).name == database.name
        # An event that the old place refuses, as it is older, and that the new place would take.
        assert not (await sink.write([change(8, 9_000, "undead")])).applied
        stored = await sink.version(("u8",))
        assert stored is not None
        assert stored.offset == offset(10_100)
        is_there = False
        await asyncio.wait_for(moving, 120)
    deleted = await moved_to["users_copy"].find_one({"_id": "u8"})
    assert await name_in_new_place() == "by the earlier release 2"
    assert deleted is not None
    assert deleted["_sync"]["deleted_at"] is not None


@pytest.mark.parametrize("is_state_deleted", [False, True])
async def test_going_back_to_the_earlier_release_and_upgrading_again_loses_nothing(
    old: MongoSink, database: "Database", moved_to: "Database", route: Route, is_state_deleted: bool
) -> None:
    sink = sink_of(database, route)
    await sink.prepare()
    await sink.move.copy_differences()
    await sink.move.note("complete_at")
    # Only the earlier release runs, and writes only the old place.
    await old.write([change(7, 10_000, "by the earlier release"), change(8, 10_001, None)])
    if is_state_deleted:
        await moved_to[STATES].delete_one({"_id": "users_copy"})
        assert (await readable_database(database.client, route)).name == database.name
    before = await stored(database)
    again = sink_of(database, route)
    await again.prepare()
    await mover_of(again).run()
    assert await stored(moved_to) == before
    assert "by the earlier release" in before["u7"]
    assert await is_gone(database)


async def test_change_of_the_earlier_release_between_two_looks_at_the_group_is_copied(
    old: MongoSink, database: "Database", moved_to: "Database", route: Route
) -> None:
    """It joined the group and left it while the old place was quiet."""
    has_written = False

    async def is_upgraded() -> bool:
        nonlocal has_written
        if not has_written and "complete_at" in await state_of(moved_to):
            has_written = True
            await old.write([change(7, 10_000, "by the earlier release")])
        return True

    sink = sink_of(database, route)
    await sink.prepare()
    await mover_of(sink, is_upgraded).run()
    moved = await moved_to["users_copy"].find_one({"_id": "u7"})
    assert moved is not None
    assert moved["name"] == "by the earlier release"


async def test_old_place_stays_as_long_as_it_is_read(
    old: MongoSink, database: "Database", moved_to: "Database", route: Route
) -> None:
    sink = sink_of(database, route)
    await sink.prepare()
    async with running(mover_of(sink, quiet=1.0).run()) as moving:
        await eventually(lambda: state_of(moved_to), lambda state: "complete_at" in state)
        end = monotonic() + 3.0
        while monotonic() < end:
            assert await database["users_copy"].find_one({"_id": "u1"})
        assert "retired_at" not in await state_of(moved_to)
        await asyncio.wait_for(moving, 120)
    assert await is_gone(database)


@pytest.mark.parametrize(
    ("seconds", "operations"),
    [
        (3.0, [(0, 0), (0, 0), (0, 0)]),
        (3.0, [(0, 5), (0, 0), (0, 2)]),  # no connector has looked anything up, so there was no reader
        (2.0, [(0, 0), (5, 5), (0, 0)]),  # a connector, or five readers
        (1.0, [(3, 5), (2, 0), (0, 0)]),  # the connector was late
        (2.0, [(0, 0), (6, 5), (0, 0), (0, 0)]),
        (0.0, [(0, 0), (0, 0), (1, 0)]),
        (0.0, [(0, 0), (-9, -2)]),  # the server has restarted
    ],
)  # fmt: skip
def test_time_is_quiet_if_all_reads_can_be_those_of_a_connector(
    seconds: float, operations: list[tuple[int, int]]
) -> None:
    quiet = QuietTime(connectors=1)
    for reads, writes in operations:
        quiet.add(1.0, Operations(reads, writes))
    assert quiet.seconds == seconds


async def test_reads_of_the_connector_do_not_keep_the_old_place_and_those_of_a_reader_do(
    old: MongoSink, database: "Database", moved_to: "Database", route: Route
) -> None:
    """MongoDB looks up each updated document for a change stream like Debezium's."""
    sink = sink_of(database, route)
    await sink.prepare()
    place = 10_000

    async def connect() -> None:
        async with database.watch(full_document="updateLookup") as events:
            async for _event in events:
                pass

    async def change_users() -> None:
        nonlocal place
        while True:
            place += 1
            await sink.write([change(7, place, str(place))])
            await asyncio.sleep(0.7)

    async def read() -> None:
        while True:
            assert await database["users_copy"].find_one({"_id": "u1"})
            await asyncio.sleep(0.2)

    async with running(connect()), running(change_users()):
        async with running(read()), running(mover_of(sink, quiet=1.0, connectors=1).run()):
            await eventually(lambda: state_of(moved_to), lambda state: "complete_at" in state)
            seen = place
            await eventually(lambda: asyncio.sleep(0, place), lambda now: now > seen + 5)
            assert "retired_at" not in await state_of(moved_to)
        await asyncio.wait_for(mover_of(sink, quiet=1.0, connectors=1).run(), 120)
    moved = await moved_to["users_copy"].find_one({"_id": "u7"})
    assert moved is not None
    assert int(moved["name"]) > 10_005


async def test_operator_ends_the_wait_where_users_change_all_the_time(
    old: MongoSink, database: "Database", moved_to: "Database", route: Route
) -> None:
    sink = sink_of(database, route)
    await sink.prepare()
    await sink.move.copy_differences()
    await sink.move.note("complete_at")
    async with running(mover_of(sink, quiet=600.0).run()) as moving:
        await moved_to[STATES].update_one({"_id": "users_copy"}, {"$set": {"retired_at": datetime.now(UTC)}})
        await asyncio.wait_for(moving, 120)
    assert await is_gone(database)


async def test_revocation_is_read_from_the_right_place(
    old: MongoSink, database: "Database", moved_to: "Database", route: Route
) -> None:
    issued = datetime.now(UTC)
    claims = Issuer("http://issuer.test").claims(iat=issued.timestamp())
    token = AccessToken.model_validate({**claims, "kid": "1"})
    accounts = CopiedAccounts(database, lambda: moved_to.name)

    async def accepts(user_id: str) -> bool:
        account = await accounts.get_by_id(user_id)
        return account is None or account.accepts(token)

    sink = sink_of(database, route)
    await sink.prepare()
    for number, step in enumerate(("old", "complete", "dropped")):
        assert await accepts(f"u{number}")
        revoked = {"name": "x", "is_active": True, "tokens_valid_after": issued + timedelta(seconds=5)}
        await sink.write([Change((f"u{number}",), revoked, change(number, 10_000 + number, "").version)])
        assert not await accepts(f"u{number}"), step
        if step == "old":
            assert (await sink.move.copy_differences()).copied > 0
            assert (await sink.move.copy_differences()).copied == 0
            await sink.move.note("complete_at")
        elif step == "complete":
            await mover_of(sink).run()
        assert not await accepts("u9000")


async def test_new_installation_has_nothing_to_move(database: "Database", moved_to: "Database", route: Route) -> None:
    sink = sink_of(database, route)
    await sink.prepare()
    assert await state_of(moved_to) == {"complete_at"}
    await sink.write([change(1, 1, "Ada")], ApplyMode.LIVE)
    await mover_of(sink).run()
    assert await is_gone(database)
    assert (await readable_database(database.client, route)).name == moved_to.name
    assert await find(MovedCopy(database["users_copy"], moved_to["users_copy"]), "u1") is not None


async def test_collection_that_is_no_copy_is_not_touched(
    database: "Database", moved_to: "Database", route: Route
) -> None:
    """Without the view that the sync makes, it belongs to another program."""
    await database["users_copy"].insert_one({"_id": "mine"})
    sink = sink_of(database, route)
    await sink.prepare()
    await mover_of(sink).run()
    assert await database["users_copy"].count_documents({}) == 1
    assert await moved_to["users_copy"].count_documents({}) == 0


async def test_copy_without_a_database_stays_where_it_is(
    old: MongoSink, database: "Database", routes: dict[str, Route]
) -> None:
    """As in a routes.yaml of the earlier release."""
    before = await stored(database)
    sink = mongo_sink(database.client, routes["users"])
    assert isinstance(sink, MongoSink)
    await sink.prepare()
    assert await stored(database) == before
    assert Move.of(database.client, routes["users"]) is None


async def test_excluded_fields_stay_behind(
    old: MongoSink, route: Route, database: "Database", moved_to: "Database"
) -> None:
    """Also where a document is copied again, and where this release has copied it before."""
    await database["users_copy"].update_many({}, {"$set": {"email": "a@example.com"}})
    sink = sink_of(database, route)
    await sink.prepare()
    await moved_to["users_copy"].insert_one(released(7, email="a@example.com"))
    move = sink.move
    assert (await move.copy_differences()).copied == 1202
    assert (await move.copy_differences()).copied == 0
    await sink.purge()
    assert await moved_to["users_copy"].count_documents({"email": {"$exists": True}}) == 0
    assert (await move.copy_differences()).copied == 0
    await mover_of(sink).run()
    assert await moved_to["users_copy"].count_documents({}) == 1203
    assert await is_gone(database)
