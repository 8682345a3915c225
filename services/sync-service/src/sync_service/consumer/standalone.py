"""Consumers that belong to no group, so that they touch no offsets of one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from service_kit.kafka import KafkaClients
from sync_service.consumer.topics import existing_topics

POLL_MS = 500
REQUEST_TIMEOUT_MS = 5000
FETCH_WAIT_MS = 100
READABLE_SECONDS = 8.0
# What is fetched ahead of being read, of all partitions together. One record may be larger.
FETCH_BYTES = 4 * 1024 * 1024
# Records of aborted transactions are never read, and the end is the last stable offset (KIP-98).
ISOLATION = "read_committed"


@asynccontextmanager
async def standalone_consumer(
    kafka: KafkaClients, topics: Iterable[str], *, client_id: str
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer with all partitions of the topics; the caller says where it begins (`seek`).

    Raises `KafkaError`: the broker does not answer, or lacks a topic.
    """
    existing = await existing_topics(kafka, topics)
    unstarted = kafka.consumer(
        client_id=client_id,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        fetch_max_bytes=FETCH_BYTES,
        isolation_level=ISOLATION,
        # For a place whose record was deleted between the question for the beginning and the fetch.
        auto_offset_reset="earliest",
    )
    async with kafka.started(unstarted) as consumer:
        consumer.assign([partition for topic in existing.values() for partition in topic.topic_partitions])
        yield consumer


async def read_until(
    consumer: AIOKafkaConsumer, ranges: Mapping[TopicPartition, tuple[int, int]]
) -> AsyncGenerator["ConsumerRecord[bytes, bytes]", None]:
    """The records of some of a consumer's partitions, from one offset up to before another, partition by partition.

    Fewer than the offsets promise: markers of transactions, aborted records and what compaction or retention has
    deleted are none. The consumer's position passes over them. Raises `KafkaError`.
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
            # The log may end earlier by now: its topic was created again.
            end = min(end, (await consumer.end_offsets([partition]))[partition])


async def is_readable(kafka: KafkaClients, partition: TopicPartition, offset: int, *, client_id: str) -> bool:
    """Whether a new connection gets past an offset at which there are records: the broker serves the partition."""
    try:
        async with (
            asyncio.timeout(READABLE_SECONDS),
            standalone_consumer(kafka, [partition.topic], client_id=client_id) as consumer,
        ):
            consumer.pause(*consumer.assignment())
            consumer.seek(partition, offset)
            consumer.resume(partition)
            while await consumer.position(partition) <= offset:
                await consumer.getmany(partition, timeout_ms=POLL_MS, max_records=1)
    except (KafkaError, OSError, TimeoutError):
        return False
    return True
