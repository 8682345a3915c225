"""Events that were deleted before they were read: the route continues, reports what is missing, and is in doubt until
it was compared.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pymongo
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.structs import OffsetAndMetadata
from bson import ObjectId

from embedded_stack import Stack
from service_kit.kafka import KafkaClients
from support.change_events import user_event
from support.polling import eventually
from support.sync_harness import PARTITIONS, SyncHarness, becomes, tweet_event, tweet_id
from support.sync_process import SyncProcess
from support.sync_process import tweet_event as own_event
from sync_service.kafka.admin import OffsetRange
from sync_service.kafka.gaps import Gap, forget, now
from sync_service.kafka.partition import RECORDS_WAITING
from sync_service.kafka.placement import placement
from sync_service.runner import SyncRunner

HERE = TopicPartition("t", 3)
ID, OTHER_ID = "1" * 32, "2" * 32


def gap(first: int, end: int | None, topic_id: str = ID) -> tuple[str, int, int, int | None]:
    return topic_id, HERE.partition, first, end


@pytest.mark.parametrize(
    ("offset_range", "committed", "offset", "gaps"),
    [
        pytest.param(OffsetRange(0, 0), None, 0, [], id="empty topic"),
        pytest.param(OffsetRange(0, 9), None, 0, [], id="new group"),
        pytest.param(OffsetRange(4, 9), None, 4, [gap(0, 4)], id="new group and a beginning that is gone"),
        pytest.param(OffsetRange(9, 9), None, 9, [gap(0, 9)], id="nothing is left"),
        pytest.param(OffsetRange(0, 9), OffsetAndMetadata(5, ID), 5, [], id="where it was"),
        pytest.param(
            OffsetRange(4, 9), OffsetAndMetadata(4, ""), 4, [], id="just at the beginning, by an earlier release"
        ),
        pytest.param(OffsetRange(0, 9), OffsetAndMetadata(9, ID), 9, [], id="at the end"),
        pytest.param(OffsetRange(6, 9), OffsetAndMetadata(5, ID), 6, [gap(5, 6)], id="deleted before it was read"),
        pytest.param(OffsetRange(0, 3), OffsetAndMetadata(5, ID), 0, [gap(3, 5)], id="the broker lost the end"),
        pytest.param(
            OffsetRange(0, 9), OffsetAndMetadata(5, OTHER_ID), 0, [gap(5, None, OTHER_ID)], id="created again since"
        ),
        pytest.param(
            OffsetRange(2, 9),
            OffsetAndMetadata(5, OTHER_ID),
            2,
            [gap(5, None, OTHER_ID), gap(0, 2)],
            id="created again, and its beginning is gone",
        ),
    ],
)
def test_placement_of_a_partition(
    offset_range: OffsetRange,
    committed: OffsetAndMetadata | None,
    offset: int,
    gaps: list[tuple[str, int, int, int | None]],
) -> None:
    found = placement(HERE, ID, offset_range, committed)
    assert found.offset == offset
    assert [(each.topic_id, each.partition, each.first, each.end) for each in found.gaps] == gaps
    assert (found.why is None) == (committed is not None and committed.offset == offset and not gaps)


async def delete_before(kafka: KafkaClients, offsets: Mapping[TopicPartition, int]) -> None:
    """As retention does it."""
    async with kafka.started(kafka.admin()) as admin:
        await admin.delete_records({place: RecordsToDelete(offset) for place, offset in offsets.items()})


async def delete_group(harness: SyncHarness) -> None:
    """With its offsets, as an operator or `offsets.retention.minutes` does it. Nothing may be in it."""
    async with (
        harness.kafka.started(harness.kafka.admin()) as admin,
        harness.kafka.started(harness.kafka.client()) as client,
    ):

        async def deleted() -> bool:
            coordinator = await admin.find_coordinator(harness.settings.sync_group_id)
            answer = await client.send(coordinator, DeleteGroupsRequest([harness.settings.sync_group_id]))
            return [error_code for _, error_code in answer.results] == [0]

        # Until the coordinator has heard that its last member has left.
        await eventually(deleted)


async def becomes_in_doubt(runner: SyncRunner, topic: str, *gaps: tuple[int, int, int | None]) -> None:
    """By partition, first and end."""

    async def known() -> list[tuple[int, int, int | None]]:
        return sorted((each.partition, each.first, each.end) for each in runner.gaps.of(topic))

    await becomes(known, sorted(gaps))


async def test_route_with_deleted_events_reports_the_gap_and_continues(harness: SyncHarness) -> None:
    first = harness.start_sync()
    await harness.send(harness.tweets_topic, *(tweet_event(n, "read") for n in range(3)))
    await becomes(harness.tweets, {tweet_id(n): "read" for n in range(3)})
    await harness.stop_sync(first)
    await harness.send(harness.tweets_topic, *(tweet_event(n, "later") for n in range(3, 10)))
    await delete_before(harness.kafka, {TopicPartition(harness.tweets_topic, 0): 7})

    second = harness.start_sync()

    wanted = {tweet_id(n): "read" if n < 3 else "later" for n in (*range(3), *range(7, 10))}
    await becomes(harness.tweets, wanted)
    await becomes_in_doubt(second, harness.tweets_topic, (0, 3, 7))
    assert second.problem is None
    assert second.doubts == (
        f"tweets is in doubt: {harness.tweets_topic}-0: events from offset 3 to 6 are not in the copy "
        "(they were deleted before they were read)"
    )
    assert second.metrics.registry.get_sample_value("sync_gaps", {"route": "users"}) == 0
    await harness.stop_sync(second)
    third = harness.start_sync()
    await becomes_in_doubt(third, harness.tweets_topic, (0, 3, 7))
    await becomes(third.member.lag.by_topic, {harness.users_topic: 0, harness.tweets_topic: 0})

    async def metric() -> float | None:
        return third.metrics.registry.get_sample_value("sync_gaps", {"route": "tweets"})

    await becomes(metric, 1)


async def test_truncated_source_puts_its_copy_in_doubt(harness: SyncHarness) -> None:
    """The copy keeps its rows. Partitions are read independently, so it is unknown which of them are newer."""
    runner = harness.start_sync()
    _, created = user_event({"id": "u1", "username": "ada"})
    truncated = json.dumps({**json.loads(created or b""), "op": "t", "before": None, "after": None}).encode()
    await harness.send(
        harness.users_topic,
        user_event({"id": "u1", "username": "ada"}),
        (None, truncated),
        user_event({"id": "u2", "username": "bob"}, pos=2),
    )
    await eventually(lambda: harness.user("u2"))
    await becomes_in_doubt(runner, harness.users_topic, (0, 1, 2))
    await becomes_in_doubt(runner, harness.tweets_topic)
    assert runner.problem is None
    assert "the copy keeps its rows until sync-service reconcile --repair deletes them" in (runner.doubts or "")
    (letter,) = await harness.dead_letters()
    assert b"TRUNCATE" in dict(letter.headers)["__connect.errors.exception.message"]
    assert await harness.user("u1") is not None


async def test_copy_that_is_gone_is_created_again_and_in_doubt(harness: SyncHarness) -> None:
    first = harness.start_sync()
    await harness.send(harness.users_topic, user_event({"id": "u1", "username": "ada"}))
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await eventually(lambda: harness.user("u1"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    await harness.becomes_committed(harness.users_topic, 1)
    await harness.stop_sync(first)
    assert first.doubts is None
    await harness.mongo["users_copy"].drop()

    second = harness.start_sync()
    await becomes_in_doubt(second, harness.users_topic, (0, 0, 1))
    await harness.send(harness.users_topic, user_event({"id": "u2", "username": "bob"}))
    await eventually(lambda: harness.user("u2"))
    assert second.gaps.of(harness.tweets_topic) == []


async def test_copy_that_mongodb_has_created_again_is_in_doubt_and_has_its_view_and_indexes(
    harness: SyncHarness,
) -> None:
    runner = harness.start_sync()
    await harness.send(harness.users_topic, user_event({"id": "u1", "username": "ada"}))
    await eventually(lambda: harness.user("u1"))
    await harness.becomes_committed(harness.users_topic, 1)
    indexes = await harness.mongo["users_copy"].index_information()
    await harness.mongo["users_copy"].drop()
    await harness.mongo["users"].drop()
    await becomes_in_doubt(runner, harness.users_topic, (0, 0, 1))
    await harness.send(harness.users_topic, user_event({"id": "u2", "username": "bob"}))
    await eventually(lambda: harness.user("u2"))
    assert await harness.mongo["users_copy"].index_information() == indexes


async def test_new_group_on_a_topic_whose_beginning_was_deleted_is_in_doubt(harness: SyncHarness) -> None:
    await harness.send(harness.tweets_topic, *(tweet_event(n, "x") for n in range(4)))
    await delete_before(harness.kafka, {TopicPartition(harness.tweets_topic, 0): 2})
    runner = harness.start_sync()
    await becomes(harness.tweets, {tweet_id(2): "x", tweet_id(3): "x"})
    await becomes_in_doubt(runner, harness.tweets_topic, (0, 0, 2))
    await becomes_in_doubt(runner, harness.users_topic)


async def test_expired_offsets_are_no_gap_if_the_topic_is_complete(harness: SyncHarness) -> None:
    first = harness.start_sync()
    await harness.send(harness.tweets_topic, *(tweet_event(n, "x") for n in range(4)))
    await eventually(harness.tweets, lambda rows: len(rows) == 4)
    await harness.stop_sync(first)
    await delete_group(harness)
    second = harness.start_sync()
    statistics = second.processors[harness.tweets_topic].statistics

    async def skipped() -> int:
        return statistics.outcomes["skipped"]

    await becomes(skipped, 4)
    await becomes_in_doubt(second, harness.tweets_topic)


async def test_events_deleted_while_the_route_waits_are_a_gap(harness: SyncHarness) -> None:
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(0, "one"))
    await becomes(harness.tweets, {tweet_id(0): "one"})
    events = 10 * RECORDS_WAITING
    async with harness.locked_tweet(0):
        await harness.send(harness.tweets_topic, tweet_event(0, "two", op="u", ordinal=2))
        worker = next(each for each in runner.member.workers if each.partition == (harness.tweets_topic, 0))

        async def waits() -> bool:
            return not worker.is_idle

        await eventually(waits)
        padding = "x" * 1000
        await harness.send(harness.tweets_topic, *(tweet_event(n, padding) for n in range(1, events)))

        async def is_full() -> bool:
            return worker.is_full

        await eventually(is_full)
        end = await harness.producer.send_and_wait(harness.tweets_topic, key=b"k", value=None, partition=0)
        await delete_before(harness.kafka, {TopicPartition(harness.tweets_topic, 0): end.offset})
        await harness.send(harness.tweets_topic, tweet_event(events, "last"))

    await eventually(harness.tweets, lambda rows: rows.get(tweet_id(events)) == "last")
    await becomes(runner.member.lag.by_topic, {harness.users_topic: 0, harness.tweets_topic: 0})
    (found,) = runner.gaps.of(harness.tweets_topic)
    assert RECORDS_WAITING < found.first < events
    assert found.end == end.offset
    # What had been fetched was applied: two events of the first row, one of each other.
    assert len(await harness.tweets()) == found.first - 1 + len(["last"])


async def test_offset_beyond_the_end_is_a_gap_and_the_topic_is_read_again(harness: SyncHarness) -> None:
    """As after an election of a replica that lacked the last records."""
    place = TopicPartition(harness.tweets_topic, 0)
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    async with AIOKafkaConsumer(
        bootstrap_servers=harness.settings.kafka_bootstrap_servers,
        group_id=harness.settings.sync_group_id,
        enable_auto_commit=False,
    ) as consumer:
        consumer.assign([place])
        await consumer.commit({place: 5})
    runner = harness.start_sync()
    await becomes(harness.tweets, {tweet_id(1): "one"})
    await becomes_in_doubt(runner, harness.tweets_topic, (0, 1, 5))


async def test_topic_created_again_under_a_running_sync_leaves_its_route_in_doubt(harness: SyncHarness) -> None:
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(1, "one"), tweet_event(2, "two"))
    await eventually(harness.tweets, lambda rows: len(rows) == 2)
    await harness.delete_topic(harness.tweets_topic)
    await harness.create_topic(harness.tweets_topic)
    await harness.send(harness.tweets_topic, tweet_event(3, "three"))
    await eventually(harness.tweets, lambda rows: len(rows) == 3)
    await becomes_in_doubt(
        runner, harness.tweets_topic, (0, 2, None), *((partition, 0, None) for partition in range(1, PARTITIONS))
    )
    await becomes_in_doubt(runner, harness.users_topic)


async def test_gap_is_not_skipped_before_it_is_stored(harness: SyncHarness, stack: Stack) -> None:
    first = harness.start_sync()
    await becomes(first.member.lag.by_topic, {harness.users_topic: 0, harness.tweets_topic: 0})
    await harness.stop_sync(first)
    await harness.send(harness.users_topic, *(user_event({"id": f"u{n}", "username": f"u{n}"}) for n in range(3)))
    await harness.send(harness.users_topic, user_event({"id": "u9", "username": "other"}), partition=1)
    await delete_before(harness.kafka, {TopicPartition(harness.users_topic, 0): 2})
    # It has to find MySQL when it starts, and no more when it finds the gap.
    second = harness.start_sync()
    prepare = second._prepare

    async def prepare_then_lose_mysql() -> None:
        await prepare()
        stack.kill("mysql")

    second._prepare = prepare_then_lose_mysql  # type: ignore[method-assign]  # between two steps of the start
    await eventually(lambda: harness.user("u9"))

    async def problem() -> str:
        return second.problem or ""

    await eventually(problem, lambda told: told.startswith("users: MySQL: "))
    assert await harness.user("u2") is None
    await asyncio.to_thread(stack.start, "mysql")
    await harness.engine.dispose()
    await eventually(lambda: harness.user("u2"))
    await becomes_in_doubt(second, harness.users_topic, (0, 0, 2))
    await becomes(problem, "")


async def is_placed(runner: SyncRunner) -> None:
    """It has all partitions of both topics, and knows where they begin: every gap is found."""

    async def places() -> list[int | None]:
        return [worker.next_offset for worker in runner.member.workers]

    await eventually(places, lambda seen: len(seen) == 2 * PARTITIONS and None not in seen)


async def committed(harness: SyncHarness, topic: str) -> dict[int, int]:
    async with harness.kafka.started(harness.kafka.admin()) as admin:
        found = await admin.list_consumer_group_offsets(harness.settings.sync_group_id)
    return {each.partition: place.offset for each, place in found.items() if each.topic == topic}


async def fall_out_of_range(harness: SyncHarness, runner: SyncRunner) -> None:
    """Partition 0 of the users is read already; its next event is deleted before the consumer fetches it."""
    place, consumer = TopicPartition(harness.users_topic, 0), runner.member._assignment.consumer
    assert consumer is not None
    consumer.pause(place)
    await harness.send(harness.users_topic, *(user_event({"id": f"u{n}", "username": f"u{n}"}) for n in (1, 2)))
    await delete_before(harness.kafka, {place: 2})
    consumer.resume(place)


async def test_gap_of_a_running_sync_is_not_committed_before_it_is_stored(harness: SyncHarness, stack: Stack) -> None:
    first = harness.start_sync()
    await harness.send(harness.users_topic, user_event({"id": "u0", "username": "u0"}))
    await eventually(lambda: harness.user("u0"))
    await is_placed(first)
    stack.kill("mysql")
    try:
        await fall_out_of_range(harness, first)

        async def problem() -> str:
            return first.problem or ""

        await eventually(problem, lambda told: told.startswith("users: MySQL: "))
        # Meanwhile other partitions are read, and this one's worker has room.
        await harness.send(harness.users_topic, user_event({"id": "u9", "username": "other"}), partition=1)
        await eventually(lambda: harness.user("u9"))
        worker = next(each for each in first.member.workers if each.partition == (harness.users_topic, 0))
        worker._on_room()
        await harness.send(harness.users_topic, user_event({"id": "u8", "username": "other"}), partition=1)
        await eventually(lambda: harness.user("u8"))
        await harness.stop_sync(first)
        assert (await committed(harness, harness.users_topic))[0] == 1
        assert await harness.user("u2") is None
    finally:
        await asyncio.to_thread(stack.start, "mysql")
    await harness.engine.dispose()
    second = harness.start_sync()
    await eventually(lambda: harness.user("u2"))
    await becomes_in_doubt(second, harness.users_topic, (0, 1, 2))


async def test_resolved_gap_stays_resolved_on_a_quiet_topic(harness: SyncHarness) -> None:
    first = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(0, "read"))
    await becomes(harness.tweets, {tweet_id(0): "read"})
    await harness.stop_sync(first)
    await harness.send(harness.tweets_topic, tweet_event(1, "later"))
    await delete_before(harness.kafka, {TopicPartition(harness.tweets_topic, 0): 2})
    second = harness.start_sync()
    await becomes_in_doubt(second, harness.tweets_topic, (0, 1, 2))
    assert await forget(harness.engine, harness.tweets_topic, before=await now(harness.engine)) == 1
    await harness.stop_sync(second)

    third = harness.start_sync()

    await is_placed(third)
    assert list(third.gaps.of(harness.tweets_topic)) == []


async def test_doubt_is_shown_and_ends_with_a_comparison(sync: SyncProcess, copies_urls: dict[str, str]) -> None:
    kafka = KafkaClients(sync.variables["KAFKA_BOOTSTRAP_SERVERS"])
    place = TopicPartition(sync.topic(sync.tweets), 0)
    await sync.send(sync.tweets, own_event(1, text="one"), own_event(2, text="two"))
    await delete_before(kafka, {place: 1})
    async with sync.running() as replica:

        async def route_of(path: str) -> dict[str, Any]:
            routes: list[dict[str, Any]] = (await replica.client.get(path)).json()["routes"]
            return next(each for each in routes if each["name"] == sync.tweets)

        def is_in_doubt(is_it: bool) -> Callable[[dict[str, Any]], bool]:
            return lambda route: bool(route["gaps"]) == is_it

        route = await eventually(lambda: route_of("/v1/pipeline"), lambda route: route["state"] == "in doubt")
        (told,) = route["gaps"]
        assert (told["partition"], told["first_offset"], told["end_offset"]) == (0, 0, 1)
        assert told["reason"] == "they were deleted before they were read"
        assert (await route_of("/v1/status"))["gaps"] == [told]
        ready = (await replica.client.get("/readyz")).json()
        assert (ready["status"], ready["checks"]) == (
            "ready",
            dict.fromkeys(["consumer", "connectors", "dead_letters", "routes"], "ok"),
        )
        (remark,) = ready["remarks"]
        doubt = f"{sync.tweets} is in doubt: {place.topic}-0: events from offset 0 to 0 are not in the copy"
        assert remark.startswith(doubt)

        # The source has what was missing.
        with pymongo.MongoClient[dict[str, Any]](copies_urls["MONGODB_URL"]) as client:
            source = client["test"][sync.tweets]
            source.insert_many([{"_id": ObjectId(tweet_id(n)), "text": word} for n, word in ((1, "one"), (2, "two"))])
            reconcile = ("reconcile", "--route", sync.tweets, "--json")
            code, output, _ = await sync.command(*reconcile)
            assert (code, json.loads(output)["routes"][0]["gaps_closed"]) == (1, 0)
            assert (await route_of("/v1/status"))["gaps"] == [told]
            code, output, _ = await sync.command(*reconcile, "--sample", "1", "--repair")
            assert (code, json.loads(output)["routes"][0]["gaps_closed"]) == (0, 0)
            code, output, errors = await sync.command("reconcile", "--route", sync.tweets)
            assert code == 0, errors
            assert "no longer in doubt" in output
            source.drop()
        await eventually(lambda: route_of("/v1/status"), is_in_doubt(False))
        route = await eventually(lambda: route_of("/v1/pipeline"), is_in_doubt(False))
        assert route["state"] == "up to date"
        assert (await replica.client.get("/readyz")).json()["remarks"] == []


def test_gap_is_described_in_a_sentence() -> None:
    known = Gap("t", ID, 0, 5, 9, "they were deleted before they were read")
    assert str(known) == "t-0: events from offset 5 to 8 are not in the copy (they were deleted before they were read)"
    unknown = Gap("t", ID, 0, 5, None, "the topic was created again")
    assert str(unknown) == "t-0: events from offset 5 on are not in the copy (the topic was created again)"
