"""Distinguishes members of the consumer group that write moving copies in both places from those of an earlier release.

A member of this release has a mark in the metadata with which it joins the group, which the broker shows to others.
"""

from collections.abc import Iterable

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError

from service_kit.kafka import KafkaClients

MARK = b"writes moving copies in both places"
_ANSWER_MS = 3000


class MarkingAssignor(RoundRobinPartitionAssignor):  # type: ignore[misc]  # published without type information
    """The assignor of earlier releases, and the mark."""

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata(cls.version, list(topics), MARK)


async def number_of_members(kafka: KafkaClients, group_id: str) -> int:
    """Of the consumer group, as its broker knows them. Raises `KafkaError`, `OSError`, `TimeoutError`."""
    async with kafka.started(kafka.admin(request_timeout_ms=_ANSWER_MS)) as admin:
        (answer,) = await admin.describe_consumer_groups([group_id])
    ((_error, _group, _state, _protocol_type, _protocol, members, *_),) = answer.groups
    return len(members)


async def has_only_marked_members(kafka: KafkaClients, group_id: str) -> bool:
    """Is every member of the group of this release? False if it is not known."""
    try:
        async with kafka.started(kafka.admin(request_timeout_ms=_ANSWER_MS)) as admin:
            (answer,) = await admin.describe_consumer_groups([group_id])
    except (KafkaError, OSError, TimeoutError):
        return False
    ((_error, _group, state, _protocol_type, _protocol, members, *_),) = answer.groups
    return state == "Stable" and all(
        ConsumerProtocolMemberMetadata.decode(metadata).user_data == MARK for _, _, _, metadata, *_ in members
    )
