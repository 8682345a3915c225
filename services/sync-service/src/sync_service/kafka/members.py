"""Distinguishes members of the consumer group that write moving copies in both places from those of an earlier release.

A member of this release has a mark in the metadata with which it joins the group, which the broker shows to others.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import GroupIdNotFound, KafkaError, for_code

from service_kit.kafka import KafkaClients

MARK = b"writes moving copies in both places"
_ANSWER_MS = 3000


class MarkingAssignor(RoundRobinPartitionAssignor):  # type: ignore[misc]  # published without type information
    """The assignor of earlier releases, and the mark."""

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata(cls.version, list(topics), MARK)


async def members_of(kafka: KafkaClients, group_id: str) -> Mapping[str, str]:
    """The client and host of each member of the consumer group, by the id that its broker has given it.

    Raises `KafkaError`, `OSError`, `TimeoutError`.
    """
    async with kafka.started(kafka.admin(request_timeout_ms=_ANSWER_MS)) as admin:
        (answer,) = await admin.describe_consumer_groups([group_id])
    return members_in(answer)


def members_in(answer: Any) -> Mapping[str, str]:
    """As `members_of`, from a `DescribeGroupsResponse` about one group. Raises `KafkaError`."""
    ((error, group, _state, _protocol_type, _protocol, members, *_),) = answer.groups
    if error not in {0, GroupIdNotFound.errno}:
        raise for_code(error)(f"the members of the consumer group {group} are not known")
    return {member_id: f"{client} at {host.strip('/')}" for member_id, client, host, *_ in members}


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
