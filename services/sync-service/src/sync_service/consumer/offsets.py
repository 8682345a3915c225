"""What a consumer group has committed."""

import asyncio
from collections.abc import Collection, Mapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.structs import OffsetAndMetadata

# A broker that has just started creates or loads what the group's coordinator needs.
COORDINATOR_SECONDS = 10.0
_PAUSE_SECONDS = 0.2


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
