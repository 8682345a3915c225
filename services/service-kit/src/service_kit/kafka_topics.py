"""Topics of the broker: which exist, their ids and their partitions.

The id (KIP-516) identifies a topic: after it was deleted and created again it has the same name and the same offsets,
but another id. aiokafka does not request ids, so this module defines the request: Metadata, version 10.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import UUID

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from service_kit.kafka import KafkaClients, connections_of

REQUEST_TIMEOUT_MS = 5000
_NO_ID = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Topic:
    """`id` has 32 hexadecimal digits. `partitions` and `leaderless`, those without a leader, are numbers, in order."""

    name: str
    id: str
    partitions: Sequence[int]
    leaderless: Sequence[int] = ()

    @property
    def topic_partitions(self) -> list[TopicPartition]:
        return [TopicPartition(self.name, number) for number in self.partitions]


async def describe_topics(kafka: KafkaClients, names: Iterable[str]) -> Mapping[str, Topic | KafkaError]:
    """Each topic, or the error (`UnknownTopicOrPartitionError`: it does not exist). No topic is created.

    Raises `KafkaError` if the broker does not answer.
    """
    async with kafka.started(kafka.client(request_timeout_ms=REQUEST_TIMEOUT_MS)) as client:
        return await describe_topics_by(client, names)


async def describe_topics_by(
    client: AIOKafkaClient | AIOKafkaAdminClient, names: Iterable[str]
) -> Mapping[str, Topic | KafkaError]:
    """As `describe_topics`, with a connected client."""
    connections = connections_of(client)
    answer = await connections.send(connections.get_random_node(), _MetadataRequest(sorted(set(names))))
    described: dict[str, Topic | KafkaError] = {}
    for code, name, topic_id, _is_internal, partitions, *_ in answer.topics:
        if code:
            described[name] = _error(code, name)
        else:
            leaders = {number: leader for _code, number, leader, *_ in partitions}
            leaderless = sorted(number for number, leader in leaders.items() if leader < 0)
            described[name] = Topic(name, topic_id.hex, sorted(leaders), leaderless)
    return described


def _error(code: int, name: str) -> KafkaError:
    error: type[KafkaError] = for_code(code)
    # `KafkaClients.explain` adds the text to a bare name.
    return error(f"topic {name} does not exist" if error is UnknownTopicOrPartitionError else name)


class _Uuid(AbstractType[UUID]):  # type: ignore[misc]  # published without type information
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


class _MetadataResponse(Response):  # type: ignore[misc]  # published without type information
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequestV10(RequestStruct):  # type: ignore[misc]  # published without type information
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestV10]):  # type: ignore[misc]  # published without type information
    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequestV10]) -> Any:
        return request_struct_class([(_NO_ID, topic, {}) for topic in self._topics], False, False, False, {})
