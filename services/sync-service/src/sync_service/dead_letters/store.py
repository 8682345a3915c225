"""Reads and writes the dead letters' topic.

It is read one record at a time, so the memory in use does not grow with the topic.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError, RecordTooLargeError

from service_kit.kafka import KafkaClients, stop
from sync_service.dead_letters.index import DeadLetterIndex
from sync_service.dead_letters.models import (
    DEAD_LETTERS_TOPIC,
    SINK_NAME,
    DeadLetterId,
    Origin,
    Record,
    Result,
    Stage,
    copy_headers,
    dead_letter_headers,
    omission_header,
    resolution_headers,
    without_excluded,
)
from sync_service.kafka.admin import OffsetRange, existing_topics, offset_ranges
from sync_service.kafka.clients import POLL_MS, consumer_of_topics, read_until, standalone_consumer
from sync_service.kafka.deadlines import within
from sync_service.routes.exclusion import ExcludedFields

_CLIENT = "sync-service-letters"
# The deadline for reading one record.
LETTER_SECONDS = 10.0
# Each holds prefetched records in memory. Further readers wait for a free one.
_CONSUMERS = 4
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError, RecordTooLargeError)


class DeadLetterReader:
    """All methods raise `KafkaError` if the broker does not answer, or lacks the topic."""

    def __init__(self, kafka: KafkaClients) -> None:
        self._kafka = kafka
        self._consumers = asyncio.Semaphore(_CONSUMERS)

    async def topic_id(self) -> str:
        return (await existing_topics(self._kafka, [DEAD_LETTERS_TOPIC]))[DEAD_LETTERS_TOPIC].id

    async def catch_up(self, index: DeadLetterIndex) -> None:
        """Bring the index up to date with the topic."""
        async with self._consumer() as consumer:
            kept = await _offset_ranges(consumer)
            index.forget_before({partition: offset_range.begin for partition, offset_range in kept.items()})
            begin = {each: max(offset_range.begin, index.reached.get(each, 0)) for each, offset_range in kept.items()}
            async for record in _read(
                consumer, {each: (begin[each], offset_range.end) for each, offset_range in kept.items()}
            ):
                index.note(record)
            # The last offsets may be transaction markers, which are no records.
            index.reached.update({each: max(begin[each], offset_range.end) for each, offset_range in kept.items()})

    async def latest(self, count: int) -> AsyncGenerator[Record, None]:
        """The latest `count` records of each partition."""
        async with self._consumer() as consumer:
            kept = await _offset_ranges(consumer)
            async for record in _read(
                consumer,
                {
                    each: (max(offset_range.begin, offset_range.end - count), offset_range.end)
                    for each, offset_range in kept.items()
                },
            ):
                yield record

    async def since(self, offsets: Mapping[int, int]) -> AsyncGenerator[Record, None]:
        """The records from these offsets on, by partition; of other partitions, all."""
        async with self._consumer() as consumer:
            kept = await _offset_ranges(consumer)
            ranges = {each: (max(found.begin, offsets.get(each, 0)), found.end) for each, found in kept.items()}
            async for record in _read(consumer, ranges):
                yield record

    async def at(self, ids: Iterable[DeadLetterId]) -> AsyncGenerator[Record, None]:
        """The records with these ids, in order, without those that are deleted."""
        async with self._consumer() as consumer:
            kept = await _offset_ranges(consumer)
            for letter in sorted(set(ids)):
                if letter.partition in kept and kept[letter.partition].begin <= letter.offset:
                    partition = TopicPartition(DEAD_LETTERS_TOPIC, letter.partition)
                    if (record := await _one(consumer, partition, letter.offset)) is not None:
                        yield record

    async def event(self, origin: Origin) -> Record | None:
        """The event from its own topic; None if the topic no longer has it."""
        topic = (await existing_topics(self._kafka, [origin.topic]))[origin.topic]
        if topic.id != origin.topic_id:
            return None
        async with consumer_of_topics(self._kafka, [topic], client_id=_CLIENT) as consumer:
            kept = await _offset_ranges(consumer)
            if origin.partition not in kept or origin.offset < kept[origin.partition].begin:
                return None
            return await _one(consumer, TopicPartition(origin.topic, origin.partition), origin.offset)

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        async with (
            self._consumers,
            standalone_consumer(self._kafka, [DEAD_LETTERS_TOPIC], client_id=_CLIENT) as consumer,
        ):
            yield consumer


async def _offset_ranges(consumer: AIOKafkaConsumer) -> Mapping[int, OffsetRange]:
    """By partition number: the consumer reads one topic."""
    kept = await offset_ranges(consumer, sorted(consumer.assignment()))
    return {place.partition: offset_range for place, offset_range in kept.items()}


async def _one(consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> Record | None:
    """None if there is no such record. Raises `KafkaTimeoutError` after `LETTER_SECONDS`."""
    record = f"the record {partition.partition}-{offset} of {partition.topic}"
    async with within(LETTER_SECONDS, f"{record} could not be read"):
        # Prefetched records are kept as long as the consumer does not seek.
        if await consumer.position(partition) != offset:
            consumer.seek(partition, offset)
        while await consumer.position(partition) <= offset:
            found = (await consumer.getmany(partition, timeout_ms=POLL_MS, max_records=1)).get(partition, ())
            for each in found:
                return each if each.offset == offset else None
            if not found and offset >= (await consumer.end_offsets([partition]))[partition]:
                return None
    return None


async def _read(consumer: AIOKafkaConsumer, ranges: Mapping[int, tuple[int, int]]) -> AsyncGenerator[Record, None]:
    of_topic = {TopicPartition(DEAD_LETTERS_TOPIC, number): limits for number, limits in ranges.items()}
    async for record in read_until(consumer, of_topic):
        yield record


class DeadLetterWriter:
    def __init__(self, kafka: KafkaClients) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def close(self) -> None:
        if self._producer is not None:
            await stop(self._producer)

    async def send(
        self, record: Record, stage: Stage, error: Exception, *, topic_id: str, excluded: ExcludedFields
    ) -> DeadLetterId:
        """Write the record without excluded fields, and wait until the broker has stored it. Raises `KafkaError`.

        `topic_id` is that of the record's topic. Of a record that is too large for this topic only the origin is kept.
        """
        headers_of_failure = dead_letter_headers(record, stage, error, topic_id)
        whole = [*record.headers, *headers_of_failure]
        key, value, headers = without_excluded(record.key, record.value, whole, excluded)
        producer = await self._started_producer()
        try:
            stored = await producer.send_and_wait(DEAD_LETTERS_TOPIC, key=key, value=value, headers=headers)
        except _TOO_LARGE:
            stored = await producer.send_and_wait(
                DEAD_LETTERS_TOPIC, headers=[*headers_of_failure, omission_header(record)], value=b""
            )
        return DeadLetterId(stored.partition, stored.offset)

    async def replace(self, letter: Record, excluded: ExcludedFields) -> None:
        """Write a copy of a dead letter without excluded fields. Raises `KafkaError`."""
        key, value, headers = without_excluded(letter.key, letter.value, copy_headers(letter), excluded)
        producer = await self._started_producer()
        await producer.send_and_wait(
            DEAD_LETTERS_TOPIC,
            key=key,
            value=value,
            headers=headers,
            partition=letter.partition,
            # It is kept no longer than the original.
            timestamp_ms=letter.timestamp,
        )

    async def resolve(self, letter: DeadLetterId, result: Result, *, by: str) -> None:
        """Write a resolution, and wait until the broker has stored it. Raises `KafkaError`."""
        producer = await self._started_producer()
        await producer.send_and_wait(
            DEAD_LETTERS_TOPIC,
            key=str(letter).encode(),
            # After the dead letter.
            partition=letter.partition,
            headers=resolution_headers(letter, result, by),
        )

    async def _started_producer(self) -> AIOKafkaProducer:
        """Started on first use: most processes never need one."""
        async with self._starting:
            if self._producer is None:
                producer = self._kafka.producer(client_id=SINK_NAME, acks="all")
                await self._kafka.start(producer)
                self._producer = producer
            return self._producer
