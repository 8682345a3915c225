"""The member of the consumer group when brokers, commits and other members fail."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError, KafkaError, KafkaTimeoutError

from embedded_stack import Stack
from service_kit.kafka import KafkaClients
from service_kit.retry import Retrier
from support.polling import eventually
from support.sync_harness import PARTITIONS, SyncHarness, becomes, tweet_event, tweet_id
from sync_service import runner as runner_module
from sync_service.apply.stops import RouteStopped
from sync_service.kafka import group
from sync_service.kafka.group import ConsumerGroupMember
from sync_service.kafka.lag import end_offsets


async def test_members_that_join_and_leave_lose_no_event(harness: SyncHarness) -> None:
    sent = 0

    async def send_steadily(stop: asyncio.Event) -> None:
        nonlocal sent
        while not stop.is_set():
            await harness.send(harness.tweets_topic, tweet_event(sent, "x"), partition=sent % PARTITIONS)
            sent += 1

    stop = asyncio.Event()
    sending = asyncio.create_task(send_steadily(stop))
    first = harness.start_sync()
    await eventually(harness.tweets)
    second = harness.start_sync()

    async def shares() -> tuple[int, int]:
        return len(first.member.workers), len(second.member.workers)

    await eventually(shares, lambda counts: all(counts) and sum(counts) == 2 * PARTITIONS)
    await harness.stop_sync(first)
    await becomes(shares, (0, 2 * PARTITIONS))
    stop.set()
    await sending

    await eventually(harness.tweets, lambda rows: len(rows) == sent)
    assert await harness.dead_letters() == []


async def test_refused_commit_is_repeated(harness: SyncHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [GroupAuthorizationFailedError("not today")]
    commit = AIOKafkaConsumer.commit

    async def refused_once(consumer: AIOKafkaConsumer, offsets: Any) -> None:
        if refusals:
            raise refusals.pop()
        await commit(consumer, offsets)

    monkeypatch.setattr(AIOKafkaConsumer, "commit", refused_once)
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    runner = harness.start_sync()
    await becomes(harness.tweets, {tweet_id(1): "one"})
    await harness.send(harness.tweets_topic, tweet_event(2, "two"))
    await becomes(harness.tweets, {tweet_id(1): "one", tweet_id(2): "two"})

    async def seen() -> tuple[dict[str, int], str | None]:
        try:
            return await runner.member.lag.by_topic(), runner.problem
        except KafkaError:
            # The consumer was being replaced.
            return {}, runner.problem

    await becomes(seen, ({harness.users_topic: 0, harness.tweets_topic: 0}, None))
    assert refusals == []


async def test_lag_times_out_while_the_broker_hangs(harness: SyncHarness, stack: Stack) -> None:
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    stack.pause("kafka")
    try:
        async with asyncio.timeout(30):
            with pytest.raises(KafkaError):
                await runner.member.lag.by_topic()
    finally:
        stack.resume("kafka")


async def test_route_that_stops_with_its_last_batch_during_close_stays_stopped(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, applying = harness.start_sync(), asyncio.Event()
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    getmany = AIOKafkaConsumer.getmany

    async def fail_when_closing(records: Sequence[Any], _topic_id: str, retrier: Retrier, *_: Any) -> None:
        async def is_cancelled() -> bool:
            return retrier.cancelled

        applying.set()
        await eventually(is_cancelled)
        raise RouteStopped("too-many-dead-letters", "of the last batch", records[0].offset)

    async def lose_the_broker(consumer: AIOKafkaConsumer, **options: Any) -> Any:
        if applying.is_set():
            raise KafkaConnectionError("lost")
        return await getmany(consumer, **options)

    monkeypatch.setattr(runner.processors[harness.tweets_topic], "apply", fail_when_closing)
    monkeypatch.setattr(AIOKafkaConsumer, "getmany", lose_the_broker)
    await harness.send(harness.tweets_topic, tweet_event(2, "two"))

    async def stopped() -> str:
        return runner.stopped or ""

    await eventually(stopped, lambda reason: "of the last batch" in reason)


async def test_partitions_assigned_during_close_are_removed(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = harness.start_sync()
    await becomes(runner.member.lag.by_topic, {harness.users_topic: 0, harness.tweets_topic: 0})
    stop = AIOKafkaConsumer.stop

    async def stop_late(consumer: AIOKafkaConsumer) -> None:
        """As aiokafka does it when a join is under way; other consumers of the process are in no group."""
        if consumer._group_id is not None:
            await runner.member.on_partitions_assigned([TopicPartition(harness.tweets_topic, 0)])
        await stop(consumer)

    monkeypatch.setattr(AIOKafkaConsumer, "stop", stop_late)
    await harness.stop_sync(runner)
    assert runner.member.workers == ()


class OneWithoutLeader:
    """What aiokafka answers when a partition has no leader, which a broker that is alone can't be brought to."""

    def __init__(self, led: TopicPartition, seen: dict[TopicPartition, int]) -> None:
        self._led = led
        self._seen = seen

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        if partitions != [self._led]:
            await asyncio.Event().wait()
        return {self._led: 7}

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset({self._led, *self._seen})

    def highwater(self, partition: TopicPartition) -> int | None:
        """As aiokafka does it."""
        assert partition in self.assignment(), "Partition is not assigned"
        return self._seen.get(partition)


async def test_partition_without_a_leader_does_not_hide_the_lag_of_others() -> None:
    led, without, revoked = TopicPartition("t", 0), TopicPartition("t", 1), TopicPartition("t", 2)
    consumer: Any = OneWithoutLeader(led, seen={without: 5})
    assert await end_offsets(consumer, [led, without, revoked]) == {led: 7, without: 5}
    with pytest.raises(KafkaTimeoutError):
        await end_offsets(consumer, [without])


async def test_member_leaves_a_broker_that_hangs_while_it_looks_for_its_coordinator(
    harness: SyncHarness, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka then waits for news of the cluster that a closed client never gets."""
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    consumer = KafkaClients.of(harness.settings).consumer(
        group_id=f"leaving-{secrets.token_hex(4)}", request_timeout_ms=4000
    )
    consumer.subscribe([harness.tweets_topic])
    await consumer.start()
    waiting, update = asyncio.Event(), consumer._client.force_metadata_update

    def note_and_update() -> Any:
        waiting.set()
        return update()

    monkeypatch.setattr(consumer._client, "force_metadata_update", note_and_update)
    stack.pause("kafka")
    try:
        consumer._coordinator.coordinator_dead()
        async with asyncio.timeout(120):
            await waiting.wait()
            await group._leave(consumer)
    finally:
        stack.resume("kafka")
    assert consumer._coordinator._coordination_task.done()


async def test_process_ends_if_its_member_hangs_although_the_broker_answers(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without partitions there is no progress that could be observed."""
    reasons: list[str] = []

    async def hang(_member: ConsumerGroupMember) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(ConsumerGroupMember, "_refresh_and_consume", hang)
    monkeypatch.setattr(runner_module, "STUCK_SECONDS", 0.5)
    monkeypatch.setattr(runner_module, "WATCH_SECONDS", 0.2)
    runner = harness.start_sync(sync_watchdog_seconds=1)
    monkeypatch.setattr(runner._supervisor, "end", reasons.append)

    async def ended() -> list[str]:
        return reasons

    assert "has hung for" in (await eventually(ended))[0]
    assert runner.problem is not None
    # It can't be stopped in the usual way.
    (_, task) = harness.running.pop()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
