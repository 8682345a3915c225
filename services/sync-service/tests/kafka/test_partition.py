"""One partition: how much it holds, and what its fetches wait for."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher

from support.change_events import Record, mongodb_event
from support.polling import eventually
from support.records import read_records
from support.sync_harness import SyncHarness, becomes, tweet_event, tweet_id
from sync_service.kafka import group, partition
from sync_service.kafka.group import PAUSED_FETCH_WAIT_MS
from sync_service.kafka.partition import RECORDS_WAITING, PartitionWorker
from sync_service.sinks.mysql import sink as mysql_sink


async def test_partition_is_full_by_bytes_or_records(harness: SyncHarness) -> None:
    processor = harness.start_sync().processors[harness.tweets_topic]
    await harness.send(harness.tweets_topic, *[(b"k", b"x" * 900_000)] * 3)
    records = await read_records(harness.settings.kafka_bootstrap_servers, harness.tweets_topic)
    worker = PartitionWorker(
        TopicPartition(harness.tweets_topic, 0),
        processor,
        "id",
        on_done=lambda _: None,
        on_room=lambda: None,
        on_stopped=lambda _: None,
    )
    worker.accept(records[:2])
    assert not worker.is_full
    worker.accept(records[2:])
    assert worker.is_full
    await worker.close()


async def test_large_records_are_written_in_small_batches_and_fetched_as_memory_allows(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With these limits each record fills a batch, and each partition stops the others.
    monkeypatch.setattr(partition, "BYTES_AT_ONCE", 1000)
    monkeypatch.setattr(group, "BYTES_HELD", 1)
    written: list[int] = []
    write = mysql_sink.MysqlSink.write

    async def noted_write(sink: Any, changes: Any, *arguments: Any) -> Any:
        written.append(len(changes))
        return await write(sink, changes, *arguments)

    monkeypatch.setattr(mysql_sink.MysqlSink, "write", noted_write)
    for number in range(12):
        await harness.send(harness.tweets_topic, large_tweet_event(number), partition=number % 3)
    harness.start_sync()
    await becomes(harness.tweets, {tweet_id(number): "large" for number in range(12)})
    assert written == [1] * 12


def large_tweet_event(number: int) -> Record:
    return mongodb_event({"_id": {"$oid": tweet_id(number)}, "text": "large", "version": 1, "other": "x" * 1000})


async def test_fetches_are_short_while_a_partition_is_paused(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka has one fetch under way: a partition that is resumed would wait for its end."""
    waits: list[int] = []
    fetch = Fetcher._proc_fetch_request

    async def noted_fetch(fetcher: Fetcher, assignment: Any, node: int, request: Any) -> Any:
        waits.append(request._max_wait_ms)
        return await fetch(fetcher, assignment, node, request)

    runner = harness.start_sync(sync_fetch_max_wait_ms=500)
    await harness.send(harness.tweets_topic, tweet_event(0, "one"))
    await becomes(harness.tweets, {tweet_id(0): "one"})
    worker = next(each for each in runner.member.workers if each.partition == (harness.tweets_topic, 0))

    async def is_full() -> bool:
        return worker.is_full

    async def wait_of_the_last() -> int:
        return waits[-1] if waits else 0

    async with harness.locked_tweet(0):
        await harness.send(harness.tweets_topic, tweet_event(0, "two", op="u", ordinal=2))
        await harness.send(harness.tweets_topic, *(tweet_event(n, "x") for n in range(1, 3 * RECORDS_WAITING)))
        await eventually(is_full)
        monkeypatch.setattr(Fetcher, "_proc_fetch_request", noted_fetch)
        await eventually(wait_of_the_last, lambda wait: wait == PAUSED_FETCH_WAIT_MS)
    await eventually(wait_of_the_last, lambda wait: wait == 500)


async def test_revoked_partition_no_longer_blocks_its_route(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_sink, "WRITE_SECONDS", 0.3)
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    statistics = runner.processors[harness.tweets_topic].statistics

    async def blocked() -> str:
        return statistics.blocked_by or ""

    async with harness.locked_tweet(1):
        await harness.send(harness.tweets_topic, tweet_event(1, "two", op="u", ordinal=2))
        await eventually(blocked, lambda reason: reason.startswith("MySQL"))
        # Another partition progresses meanwhile, which does not unblock this one.
        await harness.send(harness.tweets_topic, tweet_event(2, "other"), partition=1)
        await eventually(harness.tweets, lambda tweets: tweet_id(2) in tweets)
        assert (await blocked()).startswith("MySQL")
        await harness.stop_sync(runner)
        assert await blocked() == ""
