"""What the broker is asked: which topics exist, their offsets, and what a consumer group has committed."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic, describe_topics

# A broker that has just started creates or loads what the group's coordinator needs.
COORDINATOR_SECONDS = 10.0
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """The offset of the oldest record that a partition keeps, and of the next one to come."""

    begin: int
    end: int


async def existing_topics(kafka: KafkaClients, names: Iterable[str]) -> Mapping[str, Topic]:
    """All of these topics. Raises `KafkaError`: the broker does not answer, or lacks one of them."""
    existing = {}
    for name, topic in (await describe_topics(kafka, names)).items():
        if isinstance(topic, KafkaError):
            raise topic
        existing[name] = topic
    return existing


async def offset_ranges(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> Mapping[TopicPartition, OffsetRange]:
    """Of each partition. Raises `KafkaError`."""
    # In this order no record that is deleted meanwhile makes a beginning after the end.
    begins = await consumer.beginning_offsets(list(partitions))
    ends = await consumer.end_offsets(list(partitions))
    return {partition: OffsetRange(begins[partition], ends[partition]) for partition in partitions}


async def committed_offsets(
    admin: AIOKafkaAdminClient, group_id: str, partitions: Collection[TopicPartition]
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Partitions of which the group has committed nothing are left out.

    Raises `KafkaError`, what is worth another try after `COORDINATOR_SECONDS`.
    """
    deadline = asyncio.get_running_loop().time() + COORDINATOR_SECONDS
    while True:
        try:
            return await _asked_once(admin, group_id, partitions)
        except KafkaError as error:
            if not error.retriable or asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


async def _asked_once(
    admin: AIOKafkaAdminClient, group_id: str, partitions: Collection[TopicPartition]
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    try:
        found = await admin.list_consumer_group_offsets(group_id, partitions=list(partitions))
    except AttributeError as error:
        # aiokafka 0.14 looks for the error of a partition where there is none.
        raise GroupCoordinatorNotAvailableError("the committed offsets are not to be had") from error
    return {partition: offset for partition, offset in found.items() if offset.offset >= 0}
