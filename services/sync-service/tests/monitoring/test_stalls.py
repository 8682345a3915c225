"""Partitions that make no progress: who is at fault, and what the process does about it."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import KafkaConnectionError

from support.polling import eventually
from support.sync_harness import SyncHarness, becomes, tweet_event, tweet_id
from support.task_failures import RecordedExits
from sync_service.kafka import clients
from sync_service.runner import SyncRunner


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> RecordedExits:
    """A watchdog that looks more often; why it would have ended the process."""
    monkeypatch.setattr("sync_service.runner.WATCH_SECONDS", 0.2)
    monkeypatch.setattr("sync_service.runner.STUCK_SECONDS", 1.0)
    return RecordedExits()


@pytest.mark.usefixtures("impatient")
async def test_partition_without_progress_is_a_problem_until_it_progresses(harness: SyncHarness) -> None:
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})

    async def problem() -> str:
        return runner.problem or ""

    async def lag_seconds() -> float:
        return value_of(runner, "sync_lag_seconds", route="tweets")

    async with harness.locked_tweet(1):
        await harness.send(harness.tweets_topic, tweet_event(1, "two", op="u", ordinal=2))
        await eventually(problem, lambda told: told.startswith(f"no progress: {harness.tweets_topic}-0"))
        await eventually(lag_seconds, lambda seconds: seconds > 1)

    await becomes(harness.tweets, {tweet_id(1): "two"})
    await becomes(problem, "")
    await becomes(lag_seconds, 0)
    assert value_of(runner, "sync_rebalances_total") >= 1
    applied = {"route": "tweets", "outcome": "applied"}
    assert value_of(runner, "sync_events_total", operation="c", **applied) == 1
    assert value_of(runner, "sync_events_total", operation="u", **applied) == 1


@pytest.mark.parametrize("answers_questions", [True, False])
async def test_consumer_without_records_from_a_serving_broker_ends_the_process(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch, impatient: RecordedExits, answers_questions: bool
) -> None:
    runner = harness.start_sync(sync_watchdog_seconds=5)
    runner._supervisor.end = impatient
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    getmany = AIOKafkaConsumer.getmany

    async def none_for_the_group(consumer: AIOKafkaConsumer, *partitions: TopicPartition, **options: Any) -> Any:
        if consumer._group_id is None:
            return await getmany(consumer, *partitions, **options)
        cut_off.set()
        await asyncio.sleep(options["timeout_ms"] / 1000)
        return {}

    end_offsets = AIOKafkaConsumer.end_offsets

    async def ends_for_others(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> Any:
        if consumer._group_id is None:
            return await end_offsets(consumer, partitions)
        raise KafkaConnectionError("broken")

    cut_off = asyncio.Event()
    monkeypatch.setattr(AIOKafkaConsumer, "getmany", none_for_the_group)
    if not answers_questions:
        monkeypatch.setattr(AIOKafkaConsumer, "end_offsets", ends_for_others)
    await cut_off.wait()
    await harness.send(harness.tweets_topic, tweet_event(2, "two"))

    reason, _ = await impatient.first()
    assert reason.startswith(f"no progress: {harness.tweets_topic}-0 for ")
    monkeypatch.undo()
    await becomes(harness.tweets, {tweet_id(1): "one", tweet_id(2): "two"})

    async def problem() -> str | None:
        return runner.member.problem

    await becomes(problem, None)


async def test_broker_without_answers_to_fetches_does_not_end_the_process(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch, impatient: RecordedExits
) -> None:
    """It answers questions for offsets, and no fetch."""
    fetch = Fetcher._proc_fetch_request
    is_cut_off, answered, unanswered = False, 0, 0

    async def fetch_or_wait(fetcher: Fetcher, *request: Any) -> bool:
        nonlocal answered, unanswered
        if is_cut_off:
            unanswered += 1
            await asyncio.sleep(0.5)
            return False
        answered += 1
        try:
            return bool(await fetch(fetcher, *request))
        finally:
            answered -= 1

    async def in_flight() -> int:
        return answered

    monkeypatch.setattr(Fetcher, "_proc_fetch_request", fetch_or_wait)
    runner = harness.start_sync(sync_watchdog_seconds=5)
    runner._supervisor.end = impatient
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    monkeypatch.setattr(clients, "READABLE_SECONDS", 1.0)
    is_cut_off = True
    # The broker answers those without events.
    await becomes(in_flight, 0)
    await harness.send(harness.tweets_topic, tweet_event(2, "two"))

    async def stood() -> float:
        return runner.metrics.registry.get_sample_value("sync_stalled_seconds", {"route": "tweets"}) or 0

    await eventually(stood, lambda seconds: seconds > 10)
    assert unanswered > 10
    assert runner.problem is not None
    assert runner.problem.startswith(f"no progress: {harness.tweets_topic}-0 for ")
    is_cut_off = False
    await becomes(harness.tweets, {tweet_id(1): "one", tweet_id(2): "two"})
    assert impatient.reasons == []


@pytest.mark.parametrize("timestamp_ms", [-1, 0, None], ids=["none", "the epoch", "half an hour from now"])
async def test_lag_is_valid_with_any_timestamps(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch, timestamp_ms: int | None
) -> None:
    monkeypatch.setattr("sync_service.runner.WATCH_SECONDS", 0.2)
    if timestamp_ms is None:
        timestamp_ms = int(time.time() * 1000) + 1_800_000
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})

    async def lag() -> tuple[float, float]:
        registry = runner.metrics.registry
        events = registry.get_sample_value("sync_lag_events", {"route": "tweets"})
        return events or 0, registry.get_sample_value("sync_lag_seconds", {"route": "tweets"}) or 0

    async with harness.locked_tweet(1):
        key, value = tweet_event(1, "two", op="u", ordinal=2)
        await harness.producer.send_and_wait(
            harness.tweets_topic, key=key, value=value, partition=0, timestamp_ms=timestamp_ms
        )
        _, seconds = await eventually(lag, lambda seen: seen[0] == 1)
        assert 0 <= seconds < 60
    await becomes(lag, (0, 0))


def value_of(sync: SyncRunner, metric: str, /, **labels: str) -> float:
    value = sync.metrics.registry.get_sample_value(metric, labels)
    assert value is not None, metric
    return value
