"""Consumers outside of consumer groups: they commit no offsets."""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from service_kit.kafka import KafkaClients, stop
from service_kit.kafka_topics import Topic
from sync_service.kafka.admin import existing_topics
from sync_service.kafka.deadlines import within

POLL_MS = 500
REQUEST_TIMEOUT_MS = 5000
FETCH_WAIT_MS = 100
READABLE_SECONDS = 8.0
# The most bytes that are fetched in advance, of all partitions together. One record may be larger.
FETCH_BYTES = 4 * 1024 * 1024
# Records of aborted transactions are not read, and the end is the last stable offset (KIP-98).
ISOLATION = "read_committed"


class StandaloneClients:
    """A consumer without a group and without partitions, and an admin client.

    They connect on first use, and again after `close`.
    """

    def __init__(self, kafka: KafkaClients, *, client_id: str, request_timeout_ms: int) -> None:
        self._kafka = kafka
        self._client_id = client_id
        self._request_timeout_ms = request_timeout_ms
        self._started: tuple[AIOKafkaConsumer, AIOKafkaAdminClient] | None = None

    async def connected(self) -> tuple[AIOKafkaConsumer, AIOKafkaAdminClient]:
        """Raises `KafkaUnavailable`. Then neither is connected."""
        if self._started is None:
            consumer = _unstarted_consumer(self._kafka, self._client_id, self._request_timeout_ms)
            admin = self._kafka.admin(client_id=self._client_id, request_timeout_ms=self._request_timeout_ms)
            await self._kafka.start(consumer)
            try:
                await self._kafka.start(admin)
            except BaseException:
                await stop(consumer)
                raise
            self._started = consumer, admin
        return self._started

    async def close(self) -> None:
        started, self._started = self._started, None
        for client in started or ():
            await stop(client)


def _unstarted_consumer(kafka: KafkaClients, client_id: str, request_timeout_ms: int) -> AIOKafkaConsumer:
    return kafka.consumer(
        client_id=client_id,
        request_timeout_ms=request_timeout_ms,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        fetch_max_bytes=FETCH_BYTES,
        isolation_level=ISOLATION,
        # For an offset whose record is deleted between the request for the beginning and the fetch.
        auto_offset_reset="earliest",
    )


@asynccontextmanager
async def standalone_consumer(
    kafka: KafkaClients, topics: Iterable[str], *, client_id: str
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer with all partitions of the topics. The caller sets the start (`seek`).

    Raises `KafkaError` if the broker does not answer, or lacks a topic.
    """
    existing = await existing_topics(kafka, topics)
    async with consumer_of_topics(kafka, existing.values(), client_id=client_id) as consumer:
        yield consumer


@asynccontextmanager
async def consumer_of_topics(
    kafka: KafkaClients, topics: Iterable[Topic], *, client_id: str
) -> AsyncIterator[AIOKafkaConsumer]:
    """As `standalone_consumer`, for topics that are described already."""
    async with kafka.started(_unstarted_consumer(kafka, client_id, REQUEST_TIMEOUT_MS)) as consumer:
        consumer.assign([partition for topic in topics for partition in topic.topic_partitions])
        yield consumer


async def read_until(
    consumer: AIOKafkaConsumer, ranges: Mapping[TopicPartition, tuple[int, int]]
) -> AsyncGenerator["ConsumerRecord[bytes, bytes]", None]:
    """The records in ranges of offsets, partition by partition. A range is its start and the offset after its end.

    There may be fewer records than offsets: transaction markers, aborted records and deleted records are skipped.
    Raises `KafkaError`.
    """
    consumer.pause(*consumer.assignment())
    for partition, (start, end) in ranges.items():
        consumer.seek(partition, start)
        consumer.resume(partition)
        async for record in _read_up_to(consumer, partition, end):
            yield record
        consumer.pause(partition)


async def _read_up_to(
    consumer: AIOKafkaConsumer, partition: TopicPartition, end: int
) -> AsyncGenerator["ConsumerRecord[bytes, bytes]", None]:
    while await consumer.position(partition) < end:
        records = (await consumer.getmany(partition, timeout_ms=POLL_MS)).get(partition, ())
        for record in records:
            if record.offset >= end:
                return
            yield record
        if not records:
            # The log is shorter now if its topic was created again.
            end = min(end, (await consumer.end_offsets([partition]))[partition])


async def is_readable(kafka: KafkaClients, partition: TopicPartition, offset: int, *, client_id: str) -> bool:
    """Does the broker serve the partition? A new connection tries to read beyond an offset that has records."""
    try:
        async with (
            within(READABLE_SECONDS, "no answer"),
            standalone_consumer(kafka, [partition.topic], client_id=client_id) as consumer,
        ):
            consumer.pause(*consumer.assignment())
            consumer.seek(partition, offset)
            consumer.resume(partition)
            while await consumer.position(partition) <= offset:
                await consumer.getmany(partition, timeout_ms=POLL_MS, max_records=1)
    except (KafkaError, OSError):
        return False
    return True


async def is_answering(kafka: KafkaClients, client_id: str) -> bool:
    """Does a broker answer a new connection?"""
    try:
        async with (
            within(READABLE_SECONDS, "no answer"),
            kafka.started(kafka.admin(client_id=client_id)) as admin,
        ):
            await admin.describe_cluster()
    except (KafkaError, OSError):
        return False
    return True


async def ends_by_new_connection(
    kafka: KafkaClients, partitions: Collection[TopicPartition], *, client_id: str
) -> Mapping[TopicPartition, int]:
    """The end offsets. Raises `KafkaError` after `READABLE_SECONDS` at the latest."""
    topics = {partition.topic for partition in partitions}
    async with (
        within(READABLE_SECONDS, "no answer"),
        standalone_consumer(kafka, topics, client_id=client_id) as consumer,
    ):
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(list(partitions))
        return ends
