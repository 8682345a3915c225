"""Offsets are committed after the writes, together, and none is lost."""

import asyncio
from collections.abc import Mapping

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError
from aiokafka.structs import OffsetAndMetadata

from support.polling import eventually
from sync_service.kafka.commits import OffsetCommits

ONE, TWO = TopicPartition("topic", 1), TopicPartition("topic", 2)
TOPIC_ID = "0123456789abcdef0123456789abcdef"


class Broker:
    """Takes commits while it is `open`; fails on request."""

    def __init__(self) -> None:
        self.committed: list[dict[TopicPartition, int]] = []
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.failures: list[Exception] = []

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        self.asked += 1
        await self.open.wait()
        if self.failures:
            raise self.failures.pop()
        assert {each.metadata for each in offsets.values()} == {TOPIC_ID}
        self.committed.append({partition: each.offset for partition, each in offsets.items()})


async def test_offsets_noted_during_a_commit_are_committed_next() -> None:
    broker = Broker()
    commits = OffsetCommits(broker.commit)
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
    commits = OffsetCommits(broker.commit)
    broker.open.clear()
    commits.note(ONE, TOPIC_ID, 1)
    first = asyncio.create_task(commits.flush())
    await asyncio.sleep(0)
    commits.note(ONE, TOPIC_ID, 2)
    second = asyncio.create_task(commits.flush())
    broker.open.set()

    await asyncio.gather(first, second)

    assert broker.committed == [{ONE: 1}, {ONE: 2}]


async def test_commit_for_lost_partitions_is_no_failure() -> None:
    broker = Broker()
    commits = OffsetCommits(broker.commit)
    broker.failures.append(CommitFailedError())
    commits.note(ONE, TOPIC_ID, 1)
    await commits.flush()
    commits.note(TWO, TOPIC_ID, 2)
    await commits.flush()

    assert broker.committed == [{TWO: 2}]


async def test_broker_error_ends_the_commit_task() -> None:
    broker = Broker()
    commits = OffsetCommits(broker.commit)
    broker.failures.append(KafkaConnectionError())
    commits.note(ONE, TOPIC_ID, 1)

    with pytest.raises(KafkaConnectionError):
        await commits.run()


async def test_next_consumer_does_not_commit_earlier_offsets() -> None:
    broker = Broker()
    commits = OffsetCommits(broker.commit)
    commits.note(ONE, TOPIC_ID, 1)
    commits.forget()
    await commits.flush()

    assert broker.committed == []
