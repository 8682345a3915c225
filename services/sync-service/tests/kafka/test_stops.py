"""Routes that can't go on: each stops alone, says why, and is resumed by an operator."""

import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import create_engine
from support.change_events import Record, user_event
from support.polling import eventually
from support.sync_harness import SyncHarness, becomes, tweet_event, tweet_id
from sync_service.kafka.gaps import Gap
from sync_service.kafka.placement import Placement
from sync_service.kafka.stops import Skip, Stop, Stops
from sync_service.routes.config import Route
from sync_service.routes.problems import OffsetOutOfRange, RouteNotStopped
from sync_service.routes.resume import EventsToPass, RouteResumer
from sync_service.runner import SyncRunner

POISON: Record = (b"k", b"broken")
NO_EVENTS = EventsToPass({}, {})


def state_of(runner: SyncRunner, route: str) -> tuple[bool, str]:
    """Is the route stopped, by the metric, and why."""
    value = runner.metrics.registry.get_sample_value("sync_stopped", {"route": route})
    return value == 1, runner.stopped or ""


async def is_stopped(runner: SyncRunner, because: str, route: str = "tweets") -> None:
    async def look() -> tuple[bool, str]:
        return state_of(runner, route)

    await eventually(look, lambda seen: seen[0] and because in seen[1])


async def runs(runner: SyncRunner, route: str = "tweets") -> None:
    async def look() -> bool:
        return state_of(runner, route)[0]

    await becomes(look, False)


async def users_are_applied(harness: SyncHarness, *runners: SyncRunner) -> None:
    """An event that is sent now reaches the copy of users, and the process is ready."""
    user_id = f"u-{secrets.token_hex(4)}"
    await harness.send(harness.users_topic, user_event({"id": user_id, "username": "ada"}))
    await eventually(lambda: harness.user(user_id))

    async def problems() -> list[str | None]:
        return [runner.problem for runner in runners]

    await becomes(problems, [None] * len(runners))


def resumer(harness: SyncHarness, runner: SyncRunner) -> RouteResumer:
    return RouteResumer(harness.kafka, harness.settings.sync_group_id, runner.stops)


async def resume(harness: SyncHarness, runner: SyncRunner, events: EventsToPass = NO_EVENTS) -> None:
    await resumer(harness, runner).resume(harness.routes[1], events, by="ada")


def changed(route: Route, table: str | None = None, **declared: Any) -> Route:
    """The route into another table, with other keys or fields."""
    target = {"store": "mysql", "table": table or f"t_{secrets.token_hex(4)}"}
    return Route.model_validate({**route.model_dump(by_alias=True, exclude_unset=True), "target": target, **declared})


def wide(route: Route) -> Route:
    """More columns than fit into a row of MySQL."""
    return changed(route, fields={f"f{number}": {"type": "string"} for number in range(70)})


def with_long_key(route: Route) -> Route:
    return changed(route, key={part: {"from": f"_id.{part}", "type": "string", "length": 500} for part in "ab"})


def with_equal_columns(route: Route) -> Route:
    return changed(route, fields={"Name": {"type": "string"}, "name": {"type": "string"}})


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (wide, "1118: Row size too large"),
        (with_long_key, "1071: Specified key was too long"),
        (with_equal_columns, "1060: Duplicate column name 'name'"),
    ],
)
async def test_table_that_the_store_refuses_stops_its_route_alone(
    harness: SyncHarness, refused: Callable[[Route], Route], reason: str
) -> None:
    right = harness.routes[1]
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    harness.routes[1] = refused(right)
    broken = harness.start_sync()
    await is_stopped(broken, f"the copy can't be prepared: MySQL: {reason}")
    await users_are_applied(harness, broken)
    await harness.stop_sync(broken)

    # The right route after a restart needs no resume.
    harness.routes[1] = right
    mended = harness.start_sync()
    await becomes(harness.tweets, {tweet_id(1): "one"})
    await runs(mended)
    assert mended.stopped is None


async def test_second_of_two_routes_that_need_one_name_stops_alone(harness: SyncHarness) -> None:
    name, topic = f"t_{secrets.token_hex(4)}", f"{harness.tweets_topic}-2"
    first = changed(harness.routes[1], name)
    second = changed(first, f"{name}_copy").model_copy(update={"name": "second", "topic": topic})
    harness.routes[1:] = [first, second]
    await harness.create_topic(topic)
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    runner = harness.start_sync()
    await is_stopped(runner, f"table {name}_copy is in the way: route second needs a view of that name", "second")
    await users_are_applied(harness, runner)

    async def rows() -> list[str]:
        async with harness.engine.connect() as connection:
            return list((await connection.execute(text(f"SELECT text FROM {name}"))).scalars())  # noqa: S608 - a name of this test

    await becomes(rows, ["one"])


async def test_stopped_route_is_not_ready_alone_but_no_reason_to_be_unready(harness: SyncHarness) -> None:
    harness.routes[:] = [wide(harness.routes[1])]
    runner = harness.start_sync()

    async def problem() -> str:
        return runner.problem or ""

    await eventually(problem, lambda reason: reason.startswith("every route is stopped: tweets is stopped: "))


async def test_too_many_dead_letters_stop_the_route_until_a_resume(harness: SyncHarness) -> None:
    limited = {"sync_dead_letters_max_consecutive": 3}
    await harness.send(harness.tweets_topic, tweet_event(1, "one"), *[POISON] * 5, tweet_event(2, "two"))
    runner = harness.start_sync(**limited)
    await is_stopped(runner, "too many dead letters: route tweets: 3 events in a row could not be applied")
    # What is before the event that stopped it is applied, and nothing after it.
    await becomes(harness.tweets, {tweet_id(1): "one"})
    await users_are_applied(harness, runner)
    await becomes(runner.member.lag.by_topic, {harness.users_topic: 0, harness.tweets_topic: 3})
    assert len(await harness.dead_letters()) == 3

    # Neither a restart nor a resume without a decision adds dead letters.
    await harness.stop_sync(runner)
    again = harness.start_sync(**limited)
    await is_stopped(again, "3 events in a row")
    first_stop = again.stops.of(harness.tweets_topic)
    await users_are_applied(harness, again)
    await resume(harness, again)

    async def stopped_again() -> bool:
        return again.stops.of(harness.tweets_topic) not in ([], first_stop)

    await eventually(stopped_again)
    assert len(await harness.dead_letters()) == 3

    # A higher limit, and a resume.
    await harness.stop_sync(again)
    patient = harness.start_sync(sync_dead_letters_max_consecutive=100)
    await is_stopped(patient, "3 events in a row")
    await resume(harness, patient)
    await becomes(harness.tweets, {tweet_id(1): "one", tweet_id(2): "two"})
    assert len(await harness.dead_letters()) == 5
    await becomes(runs_of(patient), (None, None))


def runs_of(runner: SyncRunner) -> Callable[[], Any]:
    async def look() -> tuple[str | None, str | None]:
        return runner.problem, runner.stopped

    return look


async def test_events_without_keys_stop_the_route_without_dead_letters(harness: SyncHarness) -> None:
    await send_without_key(harness, 10)
    runner = harness.start_sync()
    await is_stopped(runner, "the record has no key: its table has no primary key")
    await users_are_applied(harness, runner)
    (stop,) = runner.stops.of(harness.tweets_topic)
    assert (stop.cause, stop.partition, stop.next_offset) == ("no-keys", 1, 0)
    assert await harness.dead_letters() == []
    assert await harness.tweets() == {}

    await harness.send(harness.tweets_topic, tweet_event(1, "one"), partition=1)
    await resume(harness, runner, EventsToPass(skip_to={1: 10}, discard_to={}))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    assert await harness.dead_letters() == []


async def test_single_event_without_a_key_is_a_dead_letter(harness: SyncHarness) -> None:
    await send_without_key(harness, 1)
    await harness.send(harness.tweets_topic, *[tweet_event(number, "one") for number in range(12)], partition=1)
    await send_without_key(harness, 1)
    runner = harness.start_sync()
    await becomes(harness.tweets, {tweet_id(number): "one" for number in range(12)})
    await eventually(harness.dead_letters, lambda letters: len(letters) == 2)
    await runs(runner)


async def send_without_key(harness: SyncHarness, times: int) -> None:
    _, value = tweet_event(9, "of a table without a primary key")
    for _ in range(times):
        await harness.producer.send_and_wait(harness.tweets_topic, value=value, partition=1)


async def test_skipped_events_leave_the_copy_in_doubt(harness: SyncHarness) -> None:
    limited = {"sync_dead_letters_max_consecutive": 2}
    await harness.send(harness.tweets_topic, *[POISON] * 4, tweet_event(1, "one"))
    runner = harness.start_sync(**limited)
    await is_stopped(runner, "2 events in a row")
    await resume(harness, runner, EventsToPass(skip_to={0: 4}, discard_to={}))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    await runs(runner)
    assert runner.doubts == (
        f"tweets is in doubt: {harness.tweets_topic}-0: events from offset 2 to 3 are not in the copy (skipped by ada)"
    )
    assert len(await harness.dead_letters()) == 2

    async def skips() -> int:
        await runner.stops.refresh()
        return sum(skip.topic == harness.tweets_topic for skip in runner.stops.skips)

    # A skip is forgotten, so that it does not apply to offsets that are set back.
    await becomes(skips, 0)
    again = harness.start_sync(**{**limited, "sync_group_id": f"{harness.settings.sync_group_id}-again"})
    await is_stopped(again, "2 events in a row")


async def test_skip_is_kept_until_its_offset_is_committed(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit during a rebalance fails. Without the skip the next owner of the partition would stop again."""
    is_rebalancing, commit = False, AIOKafkaConsumer.commit

    async def refused_meanwhile(consumer: AIOKafkaConsumer, offsets: Any) -> None:
        if is_rebalancing:
            raise CommitFailedError
        await commit(consumer, offsets)

    monkeypatch.setattr(AIOKafkaConsumer, "commit", refused_meanwhile)
    limited = {"sync_dead_letters_max_consecutive": 2}
    await harness.send(harness.tweets_topic, *[POISON] * 4, tweet_event(1, "one"))
    runner = harness.start_sync(**limited)
    await is_stopped(runner, "2 events in a row")
    is_rebalancing = True
    await resume(harness, runner, EventsToPass(skip_to={0: 4}, discard_to={}))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    await runner.member.settle_skips()

    async def skips() -> int:
        await runner.stops.refresh()
        return sum(skip.topic == harness.tweets_topic for skip in runner.stops.skips)

    assert await skips() == 1
    # The next owner of the partition passes the same events.
    await harness.stop_sync(runner)
    is_rebalancing = False
    again = harness.start_sync(**limited)
    await harness.send(harness.tweets_topic, tweet_event(2, "two"))
    await becomes(harness.tweets, {tweet_id(1): "one", tweet_id(2): "two"})
    assert again.stopped is None
    runner = again
    await becomes(skips, 0)


async def test_discarded_events_are_dead_letters_that_are_resolved(harness: SyncHarness) -> None:
    await harness.send(harness.tweets_topic, *[POISON] * 4, tweet_event(1, "one"), *[POISON] * 2, tweet_event(2, "two"))
    runner = harness.start_sync(sync_dead_letters_max_consecutive=2)
    await is_stopped(runner, "2 events in a row")
    await resume(harness, runner, EventsToPass(skip_to={}, discard_to={0: 4}))
    # The next two are within the limit.
    await becomes(harness.tweets, {tweet_id(1): "one", tweet_id(2): "two"})
    letters = [int(dict(each.headers)["__connect.errors.offset"]) for each in await harness.dead_letters()]
    assert letters == [0, 1, 2, 3, 5, 6]
    discarded = [dict(each.headers)["__connect.errors.exception.message"] for each in await harness.dead_letters()][2:4]
    assert discarded == [b"discarded by ada"] * 2
    assert runner.doubts is None


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        (EventsToPass({0: 2}, {}), "is applied up to offset 2 and ends at 5"),
        (EventsToPass({0: 6}, {}), "is applied up to offset 2 and ends at 5"),
        (EventsToPass({}, {1: 1}), "is applied up to offset 0 and ends at 0"),
        (EventsToPass({}, {9: 1}), "has no partition 9"),
    ],
    ids=["applied already", "beyond the end", "empty partition", "unknown partition"],
)
async def test_offset_to_continue_at_is_checked(harness: SyncHarness, events: EventsToPass, reason: str) -> None:
    await harness.send(harness.tweets_topic, *[POISON] * 5)
    runner = harness.start_sync(sync_dead_letters_max_consecutive=2)
    await is_stopped(runner, "2 events in a row")
    with pytest.raises(OffsetOutOfRange, match=reason):
        await resume(harness, runner, events)
    assert runner.stopped is not None


async def test_route_that_runs_is_not_resumed(harness: SyncHarness) -> None:
    runner = harness.start_sync()
    await users_are_applied(harness, runner)
    with pytest.raises(RouteNotStopped):
        await resume(harness, runner)


@pytest.fixture
async def restricted(harness: SyncHarness, mysql_root_url: str) -> AsyncIterator[dict[str, Any]]:
    """Settings with an account that may read the copy of tweets, and write every other table of the schema."""
    schema = make_url(harness.settings.mysql_url.get_secret_value()).database
    account, password = f"sync_{secrets.token_hex(4)}", secrets.token_hex(16)
    engine = create_engine(mysql_root_url)
    async with engine.begin() as connection:
        tables = (
            await connection.execute(text(f"SHOW FULL TABLES IN {schema} WHERE Table_type = 'BASE TABLE'"))
        ).scalars()
        await connection.execute(text(f"CREATE USER '{account}'@'%' IDENTIFIED BY '{password}'"))
        await connection.execute(
            text(f"GRANT SELECT, CREATE, ALTER, DROP, CREATE VIEW ON {schema}.* TO '{account}'@'%'")
        )
        for table in tables:
            if table != "tweets_copy":
                await connection.execute(text(f"GRANT INSERT, UPDATE, DELETE ON {schema}.{table} TO '{account}'@'%'"))
    url = make_url(harness.settings.mysql_url.get_secret_value()).set(username=account, password=password)
    grant = f"GRANT INSERT, UPDATE, DELETE ON {schema}.tweets_copy TO '{account}'@'%'"
    yield {
        "settings": {"mysql_url": type(harness.settings.mysql_url)(url.render_as_string(hide_password=False))},
        "grant": grant,
        "engine": engine,
    }
    async with engine.begin() as connection:
        await connection.execute(text(f"DROP USER '{account}'@'%'"))
    await engine.dispose()


async def test_missing_privilege_on_one_table_stops_its_route_until_it_is_granted(
    harness: SyncHarness, restricted: dict[str, Any]
) -> None:
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    runner = harness.start_sync(**restricted["settings"])
    await is_stopped(runner, "MySQL: 1142: ")
    await users_are_applied(harness, runner)
    assert await harness.dead_letters() == []
    async with restricted["engine"].begin() as connection:
        await connection.execute(text(restricted["grant"]))
    await resume(harness, runner)
    await becomes(harness.tweets, {tweet_id(1): "one"})


async def test_table_that_is_dropped_stops_its_route_and_is_created_by_the_resume(harness: SyncHarness) -> None:
    route = harness.routes[1]
    table = f"dropped_{secrets.token_hex(4)}"
    query = f"SELECT text FROM {table}"  # noqa: S608 - a name of this test
    harness.routes[1] = changed(route, table)

    async def rows() -> list[str]:
        try:
            async with harness.engine.connect() as connection:
                return list((await connection.execute(text(query))).scalars())
        except DBAPIError:
            return []

    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(0, "lost with the table"))
    await becomes(rows, ["lost with the table"])
    await harness.becomes_committed(harness.tweets_topic, 1)
    async with harness.engine.connect() as connection:
        await connection.execute(text(f"DROP TABLE {table}_copy"))
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await is_stopped(runner, "MySQL: 1146: ")
    await users_are_applied(harness, runner)
    assert runner.doubts is None
    await resume(harness, runner)
    await becomes(rows, ["one"])
    assert "events from offset 0 to 0 are not in the copy (they were applied to a copy that no" in (runner.doubts or "")


async def test_failure_that_no_one_expected_stops_its_route_alone(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = harness.start_sync()
    sink = runner.processors[harness.tweets_topic].sink
    tries = 0

    async def fail(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise KeyError("a fault of the code")

    with monkeypatch.context() as broken:
        broken.setattr(sink, "write", fail)
        await harness.send(harness.tweets_topic, tweet_event(1, "one"))
        await is_stopped(runner, "unexpected error: KeyError: 'a fault of the code'")
        assert tries > 1
        await users_are_applied(harness, runner)
    await resume(harness, runner)
    await becomes(harness.tweets, {tweet_id(1): "one"})


async def test_every_process_of_the_group_stops_and_resumes_a_route(harness: SyncHarness) -> None:
    limited = {"sync_dead_letters_max_consecutive": 2}
    first, second = harness.start_sync(**limited), harness.start_sync(**limited)

    async def shares() -> tuple[int, int]:
        return len(first.member.workers), len(second.member.workers)

    await eventually(shares, lambda counts: all(counts) and sum(counts) == 6)
    await harness.send(harness.tweets_topic, *[POISON] * 3, partition=0)
    for each in (first, second):
        await is_stopped(each, "2 events in a row")
    # Partitions of both processes wait, and that of the failure is not alone.
    for partition in range(3):
        await harness.send(harness.tweets_topic, tweet_event(partition, "new"), partition=partition)
    await users_are_applied(harness, first, second)
    assert await harness.tweets() == {}

    # A process that takes the partitions over keeps to the stop.
    await harness.stop_sync(first)
    await eventually(shares, lambda counts: counts[1] == 6)
    await users_are_applied(harness, second)
    third = harness.start_sync(**limited)
    await is_stopped(third, "2 events in a row")
    assert await harness.tweets() == {}
    assert len(await harness.dead_letters()) == 2

    await resume(harness, third, EventsToPass(skip_to={0: 3}, discard_to={}))
    await becomes(harness.tweets, {tweet_id(number): "new" for number in range(3)})
    for each in (second, third):
        await runs(each)


async def test_stop_is_kept_in_memory_while_mysql_is_away(engine: AsyncEngine, schema_url: str) -> None:
    nowhere = create_engine(str(make_url(schema_url).set(port=1).render_as_string(hide_password=False)))
    stops = Stops(nowhere)
    stops.note(Stop("t", "refused", "MongoDB: no", datetime.now(UTC), 0, "id", 5))
    with pytest.raises(Exception, match="MySQL"):
        await stops.refresh()
    assert stops.is_stopped("t")
    await nowhere.dispose()

    stops._engine = engine
    await stops.refresh()
    other = Stops(engine)
    await other.refresh()
    assert [(each.reason, each.next_offset) for each in other.of("t")] == [("MongoDB: no", 5)]
    await other.resume("t", [])
    await stops.refresh()
    assert not stops.is_stopped("t")


def test_placement_passes_the_events_that_an_operator_has_decided_on() -> None:
    skip = Skip("t", "id", 0, 10, discards=False, by="ada")
    assert Placement(4).after(None) == Placement(4)
    assert Placement(10).after(skip) == Placement(10)
    passed = Placement(4).after(skip)
    assert (passed.offset, passed.gaps) == (10, (Gap("t", "id", 0, 4, 10, "skipped by ada", "skipped"),))
    discard = Skip("t", "id", 0, 10, discards=True, by="ada")
    assert Placement(4).after(discard) == Placement(4, discard=discard)
