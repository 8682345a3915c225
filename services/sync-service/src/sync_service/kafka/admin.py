"""Metadata from the broker: topics, offsets, and the offsets that a consumer group has committed."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic, describe_topics
from service_kit.retry import Backoff, Retrier
from sync_service.kafka.deadlines import within

# A broker that has just started has to load the group before it can answer.
COORDINATOR_SECONDS = 10.0
# The deadline of one request for the offsets of partitions, of which some may have no leader.
OFFSETS_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """The offset of the oldest record of a partition, and the offset that its next record will get."""

    begin: int
    end: int


async def existing_topics(kafka: KafkaClients, names: Iterable[str]) -> Mapping[str, Topic]:
    """All of these topics. Raises `KafkaError` if the broker does not answer, or lacks one of them."""
    existing = {}
    for name, topic in (await describe_topics(kafka, names)).items():
        if isinstance(topic, KafkaError):
            raise topic
        existing[name] = topic
    return existing


async def offset_ranges(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> Mapping[TopicPartition, OffsetRange]:
    """The offsets of each partition. Raises `KafkaError`."""
    # In this order a concurrent deletion of records can't make the beginning higher than the end.
    begins = await consumer.beginning_offsets(list(partitions))
    ends = await consumer.end_offsets(list(partitions))
    return {partition: OffsetRange(begins[partition], ends[partition]) for partition in partitions}


async def offset_ranges_or_errors(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> Mapping[TopicPartition, OffsetRange | KafkaError]:
    """The offsets of each partition, or the error, after two times `OFFSETS_SECONDS` at the latest.

    aiokafka waits for the leaders of all partitions. If one does not answer, each partition is asked for alone.
    """
    try:
        async with within(OFFSETS_SECONDS, "no answer"):
            return dict(await offset_ranges(consumer, partitions))
    except KafkaError as error:
        if len(partitions) == 1:
            return dict.fromkeys(partitions, error)
    answers = await asyncio.gather(*(offset_ranges_or_errors(consumer, [each]) for each in partitions))
    return {partition: found for answer in answers for partition, found in answer.items()}


async def committed_offsets(
    admin: AIOKafkaAdminClient, group_id: str, partitions: Collection[TopicPartition]
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Without the partitions of which the group has committed nothing.

    Raises `KafkaError`. A retriable one is retried for `COORDINATOR_SECONDS`.
    """
    retrier = Retrier(
        on=lambda error: isinstance(error, KafkaError) and bool(error.retriable),
        backoff=Backoff(initial=0.2, maximum=1.0),
        timeout=COORDINATOR_SECONDS,
    )
    return await retrier.run(lambda: _committed_offsets(admin, group_id, partitions))


async def _committed_offsets(
    admin: AIOKafkaAdminClient, group_id: str, partitions: Collection[TopicPartition]
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    try:
        found = await admin.list_consumer_group_offsets(group_id, partitions=list(partitions))
    except AttributeError as error:
        # aiokafka 0.14 reads a field that the answer lacks if the coordinator is not available.
        raise GroupCoordinatorNotAvailableError("the committed offsets are not available") from error
    return {partition: offset for partition, offset in found.items() if offset.offset >= 0}
