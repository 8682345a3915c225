"""Kafka from outside the group: topics read and written to, and the group's offsets set back."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from service_kit.kafka import KafkaClients
from sync_service.dead_letters.models import DEAD_LETTERS_TOPIC
from sync_service.dead_letters.store import MAX_REQUEST_BYTES
from sync_service.kafka.admin import existing_topics
from sync_service.kafka.clients import ISOLATION

POLL_MS = 200
ALONE_WITHIN_SECONDS = 30.0
LOOK_SECONDS = 0.1
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
    """`topics` are those of the routes. Whatever is not answered raises `KafkaError`."""

    def __init__(self, bootstrap_servers: str, topics: Sequence[str], group_id: str) -> None:
        self.topics = topics
        self.group_id = group_id
        self._servers = bootstrap_servers

    async def read(self, topic: str, partition: int = 0, start: int = 0) -> list[Record]:
        """All records that the partition has now, from an offset on."""
        where = TopicPartition(topic, partition)
        async with self._consumer() as consumer:
            consumer.assign([where])
            end = (await consumer.end_offsets([where]))[where]
            begin = max(start, (await consumer.beginning_offsets([where]))[where])
            records: list[Record] = []
            if begin >= end:
                return records
            consumer.seek(where, begin)
            while await consumer.position(where) < end:
                fetched = (await consumer.getmany(where, timeout_ms=POLL_MS)).get(where, [])
                records += [Record(topic, partition, it.offset, it.key, it.value, dict(it.headers)) for it in fetched]
            return records

    async def partitions(self, topic: str) -> list[int]:
        topics = await existing_topics(KafkaClients(self._servers), [topic])
        return list(topics[topic].partitions)

    async def ends(self, topic: str) -> dict[TopicPartition, int]:
        """The offset after the last record of each partition."""
        places = [TopicPartition(topic, number) for number in await self.partitions(topic)]
        async with self._consumer() as consumer:
            return dict(await consumer.end_offsets(places))

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def write(self, records: Sequence[Record]) -> None:
        """Each at the end of its partition, in this order."""
        producer = AIOKafkaProducer(bootstrap_servers=self._servers, acks="all", max_request_size=MAX_REQUEST_BYTES)
        await producer.start()
        try:
            for each in records:
                await producer.send_and_wait(
                    each.topic,
                    key=each.key,
                    value=each.value,
                    partition=each.partition,
                    headers=list(each.headers.items()),
                )
        finally:
            await producer.stop()

    async def set_back(self, by: int | None, session_timeout_ms: int) -> None:
        """Have the group begin so many events earlier in each partition, or at the start.

        As its only member: all others must have gone, or be dead. Raises `TimeoutError`.
        """
        places = {TopicPartition(topic, number) for topic in self.topics for number in await self.partitions(topic)}
        async with self.guest(session_timeout_ms) as consumer, asyncio.timeout(ALONE_WITHIN_SECONDS):
            while consumer.assignment() != places:  # noqa: ASYNC110 - aiokafka tells nobody
                await asyncio.sleep(LOOK_SECONDS)
            committed = {place: await consumer.committed(place) or 0 for place in places}
            await consumer.commit({place: 0 if by is None else max(0, at - by) for place, at in committed.items()})

    @asynccontextmanager
    async def guest(self, session_timeout_ms: int) -> AsyncIterator[AIOKafkaConsumer]:
        """A member of the group that gets its share of the partitions, reads nothing and leaves again."""
        async with self._consumer(self.group_id, session_timeout_ms=session_timeout_ms) as consumer:
            consumer.subscribe(list(self.topics))
            yield consumer

    @asynccontextmanager
    async def _consumer(
        self, group_id: str | None = None, *, session_timeout_ms: int = 6000
    ) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            group_id=group_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=ISOLATION,
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=session_timeout_ms // 4,
            rebalance_timeout_ms=session_timeout_ms,
        )
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()


@dataclass
class DeadLetterWriter:
    """What was put in to end there, and what is there. A letter that comes twice was redelivered: no matter."""

    topics: Topics
    expected: dict[str, str] = field(default_factory=dict)
    arrived: set[str] = field(default_factory=set)
    foreign: list[str] = field(default_factory=list)
    _next_offset: int = 0

    @property
    def missing(self) -> set[str]:
        return self.expected.keys() - self.arrived

    def expect(self, marker: str, kind: str) -> None:
        self.expected[marker] = kind

    def topics_were_lost(self) -> None:
        """Poison that the sync had not read yet can't arrive any more."""
        for marker in self.missing:
            del self.expected[marker]
        self._next_offset = 0

    async def ignore_earlier(self) -> None:
        """Letters that are there already are no work of ours."""
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
                self.foreign.append(f"{letter.key!r}: {reason}")
