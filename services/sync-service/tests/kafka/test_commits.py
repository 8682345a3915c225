"""Offsets are committed after the writes, together, and none is lost."""

import asyncio
from collections.abc import Mapping

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError, TopicAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata

from support.polling import eventually
from support.sync_harness import SyncHarness, becomes
from sync_service.kafka.admin import committed_offsets
from sync_service.kafka.commits import OffsetCommits

ONE, TWO, DELETED = TopicPartition("topic", 1), TopicPartition("topic", 2), TopicPartition("deleted", 0)
TOPIC_ID = "0123456789abcdef0123456789abcdef"


class Broker:
    """Takes commits while it is `open`; fails on request. A commit for a `deleted` topic has no end, as in aiokafka."""

    def __init__(self) -> None:
        self.committed: list[dict[TopicPartition, int]] = []
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.failures: list[Exception] = []

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        self.asked += 1
        await self.open.wait()
        if DELETED in offsets:
            await asyncio.Event().wait()
        if self.failures:
            raise self.failures.pop()
        assert {each.metadata for each in offsets.values()} == {TOPIC_ID}
        self.committed.append({partition: each.offset for partition, each in offsets.items()})


async def test_offsets_noted_during_a_commit_are_committed_next() -> None:
    broker = Broker()
    commits = OffsetCommits(broker.commit, seconds=30)
    broker.open.clear()
    running = asyncio.create_task(commits.run())
    commits.note(ONE, TOPIC_ID, 1)

    async def asked() -> int:
        return broker.asked

    async def committed() -> int:
        return len(broker.committed)

    await eventually(asked, lambda times: times == 1)
    for offset in (2, 3):
        commits.note(ONE, TOPIC_ID, offset)
    commits.note(TWO, TOPIC_ID, 7)
    broker.open.set()

    await eventually(committed, lambda times: times == 2)
    assert broker.committed == [{ONE: 1}, {ONE: 3, TWO: 7}]
    running.cancel()


async def test_flush_returns_after_all_noted_offsets_are_committed() -> None:
    broker = Broker()
    commits = OffsetCommits(broker.commit, seconds=30)
    broker.open.clear()
    commits.note(ONE, TOPIC_ID, 1)
    first = asyncio.create_task(commits.flush())
    await asyncio.sleep(0)
    commits.note(ONE, TOPIC_ID, 2)
    second = asyncio.create_task(commits.flush())
    broker.open.set()

    await asyncio.gather(first, second)

    assert broker.committed == [{ONE: 1}, {ONE: 2}]


async def test_offsets_stay_noted_during_a_rebalance_unless_they_are_replaced_or_forgotten() -> None:
    broker = Broker()
    commits = OffsetCommits(broker.commit, seconds=30)
    broker.failures += [CommitFailedError(), CommitFailedError()]
    commits.note(ONE, TOPIC_ID, 1)
    commits.note(TWO, TOPIC_ID, 2)
    assert set(await commits.flush()) == {ONE, TWO}
    commits.note(ONE, TOPIC_ID, 4)
    assert set(await commits.flush()) == {ONE, TWO}
    commits.forget([TWO])

    assert list(await commits.flush()) == []
    assert list(await commits.flush()) == []
    assert broker.committed == [{ONE: 4}]


async def test_failed_commit_is_repeated_without_news() -> None:
    broker = Broker()
    commits = OffsetCommits(broker.commit, seconds=30)
    broker.failures.append(CommitFailedError())
    commits.note(ONE, TOPIC_ID, 1)
    running = asyncio.create_task(commits.run())

    async def committed() -> list[dict[TopicPartition, int]]:
        return broker.committed

    await eventually(committed, lambda seen: seen == [{ONE: 1}])
    running.cancel()


async def test_topic_that_can_not_be_committed_fails_alone() -> None:
    broker = Broker()
    commits = OffsetCommits(broker.commit, seconds=0.2)
    for offset in (1, 2):
        commits.note(DELETED, TOPIC_ID, offset)
        commits.note(ONE, TOPIC_ID, offset)
        assert list(await commits.flush()) == [DELETED]
    assert broker.committed == [{ONE: 1}, {ONE: 2}]
    # Together and each alone; then the topics apart.
    assert broker.asked == 3 + 2


async def test_deleted_topic_does_not_hold_up_the_offsets_of_others(harness: SyncHarness) -> None:
    group_id = harness.settings.sync_group_id
    users, tweets = TopicPartition(harness.users_topic, 0), TopicPartition(harness.tweets_topic, 0)
    consumer = harness.kafka.consumer(users.topic, tweets.topic, group_id=group_id, enable_auto_commit=False)
    async with harness.kafka.started(consumer), harness.kafka.started(harness.kafka.admin()) as admin:
        # Without a fetch the consumer does not notice the deletion, which would end a commit by a rebalance.
        consumer.pause(*consumer.assignment())

        async def fetches() -> int:
            return len(consumer._fetcher._in_flight)

        await becomes(fetches, 0)
        await harness.delete_topic(tweets.topic)
        commits = OffsetCommits(consumer.commit, seconds=1)
        commits.note(tweets, TOPIC_ID, 5)
        for offset in (3, 4):
            commits.note(users, TOPIC_ID, offset)
            assert list(await commits.flush()) == [tweets]
            offsets = await committed_offsets(admin, group_id, [users])
            assert offsets == {users: OffsetAndMetadata(offset, TOPIC_ID)}


async def test_denied_topic_fails_alone() -> None:
    broker = Broker()
    commits = OffsetCommits(broker.commit, seconds=30)
    # One for both topics, and one for the first of them.
    broker.failures += [TopicAuthorizationFailedError("deleted"), TopicAuthorizationFailedError("deleted")]
    other = TopicPartition("other", 0)
    commits.note(ONE, TOPIC_ID, 1)
    commits.note(other, TOPIC_ID, 2)
    (failed,) = await commits.flush()
    assert list(await commits.flush()) == []
    committed = {partition: offset for offsets in broker.committed for partition, offset in offsets.items()}
    assert (failed in (ONE, other), committed) == (True, {ONE: 1, other: 2})


async def test_broker_error_ends_the_commit_task() -> None:
    broker = Broker()
    commits = OffsetCommits(broker.commit, seconds=30)
    broker.failures.append(KafkaConnectionError())
    commits.note(ONE, TOPIC_ID, 1)

    with pytest.raises(KafkaConnectionError):
        await commits.run()


async def test_next_consumer_does_not_commit_earlier_offsets() -> None:
    broker = Broker()
    commits = OffsetCommits(broker.commit, seconds=30)
    commits.note(ONE, TOPIC_ID, 1)
    commits.forget_all()
    await commits.flush()

    assert broker.committed == []
