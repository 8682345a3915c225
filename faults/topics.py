"""Kafka: read and write topics, and rewind the group's offsets."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from service_kit.kafka import KafkaClients
from sync_service.dead_letters.models import DEAD_LETTERS_TOPIC
from sync_service.kafka.admin import existing_topics
from sync_service.kafka.clients import ISOLATION

POLL_MS = 200
ASSIGNED_WITHIN_SECONDS = 30.0
RETRY_SECONDS = 0.1
MARKER = "fault-marker"

Headers = Mapping[str, bytes]


@dataclass(frozen=True)
class Record:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = field(default_factory=dict)


class Topics:
    """`topics` are those of the routes. All calls raise `KafkaError` or `KafkaUnavailable` if Kafka doesn't respond."""

    def __init__(self, clients: KafkaClients, topics: Sequence[str], group_id: str) -> None:
        self.topics = topics
        self.group_id = group_id
        self._clients = clients

    async def read(self, topic: str, partition: int = 0, start: int = 0) -> list[Record]:
        """Return all current records of the partition, from offset `start`."""
        tp = TopicPartition(topic, partition)
        async with self._consumer() as consumer:
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            begin = max(start, (await consumer.beginning_offsets([tp]))[tp])
            records: list[Record] = []
            if begin >= end:
                return records
            consumer.seek(tp, begin)
            while await consumer.position(tp) < end:
                fetched = (await consumer.getmany(tp, timeout_ms=POLL_MS)).get(tp, [])
                records += [Record(topic, partition, it.offset, it.key, it.value, dict(it.headers)) for it in fetched]
            return records

    async def partitions(self, topic: str) -> list[int]:
        topics = await existing_topics(self._clients, [topic])
        return list(topics[topic].partitions)

    async def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Return the end offset of each partition."""
        partitions = [TopicPartition(topic, number) for number in await self.partitions(topic)]
        async with self._consumer() as consumer:
            return dict(await consumer.end_offsets(partitions))

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        async with self._clients.started(self._clients.admin()) as admin:
            yield admin

    async def write(self, records: Sequence[Record]) -> list[int]:
        """Append each record to its partition, in this order. Returns the new offsets."""
        producer = self._clients.producer(acks="all")
        async with self._clients.started(producer):
            written = [
                await producer.send_and_wait(
                    each.topic,
                    key=each.key,
                    value=each.value,
                    partition=each.partition,
                    headers=list(each.headers.items()),
                )
                for each in records
            ]
        return [metadata.offset for metadata in written]

    async def rewind(self, by: int | None, session_timeout_ms: int) -> None:
        """Rewind the group by `by` events in each partition, or to the start (None).

        Joins as the only member: all others must have left or be dead. Raises `TimeoutError`.
        """
        wanted = {TopicPartition(topic, number) for topic in self.topics for number in await self.partitions(topic)}
        async with self.idle_member(session_timeout_ms) as consumer, asyncio.timeout(ASSIGNED_WITHIN_SECONDS):
            while consumer.assignment() != wanted:  # noqa: ASYNC110 - aiokafka has no event for it
                await asyncio.sleep(RETRY_SECONDS)
            committed = {tp: await consumer.committed(tp) or 0 for tp in wanted}
            await consumer.commit({tp: 0 if by is None else max(0, at - by) for tp, at in committed.items()})

    @asynccontextmanager
    async def idle_member(self, session_timeout_ms: int) -> AsyncIterator[AIOKafkaConsumer]:
        """Join the group, take a share of the partitions, read nothing, leave."""
        async with self._consumer(self.group_id, session_timeout_ms=session_timeout_ms) as consumer:
            consumer.subscribe(list(self.topics))
            yield consumer

    @asynccontextmanager
    async def _consumer(
        self, group_id: str | None = None, *, session_timeout_ms: int = 6000
    ) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = self._clients.consumer(
            group_id=group_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=ISOLATION,
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=session_timeout_ms // 4,
            rebalance_timeout_ms=session_timeout_ms,
        )
        async with self._clients.started(consumer):
            yield consumer


@dataclass
class DeadLetterTracker:
    """Compares written poison with dead letters. A repeated dead letter is a redelivery, which is allowed."""

    topics: Topics
    expected: dict[str, str] = field(default_factory=dict)
    arrived: set[str] = field(default_factory=set)
    unexpected: list[str] = field(default_factory=list)
    _next_offset: int = 0

    @property
    def missing(self) -> set[str]:
        return self.expected.keys() - self.arrived

    def expect(self, marker: str, kind: str) -> None:
        self.expected[marker] = kind

    def forget_unread(self) -> None:
        """After a loss of topics: poison that the sync had not read can no longer arrive."""
        for marker in self.missing:
            del self.expected[marker]
        self._next_offset = 0

    async def skip_existing(self) -> None:
        """Ignore dead letters from before the run."""
        for letter in await self.topics.read(DEAD_LETTERS_TOPIC):
            self._next_offset = letter.offset + 1

    async def read(self) -> None:
        for letter in await self.topics.read(DEAD_LETTERS_TOPIC, start=self._next_offset):
            self._next_offset = letter.offset + 1
            marker = letter.headers.get(MARKER, b"").decode()
            if marker in self.expected:
                self.arrived.add(marker)
            else:
                reason = letter.headers.get("__connect.errors.exception.message", b"").decode(errors="replace")
                self.unexpected.append(f"{letter.key!r}: {reason}")
