"""The ids of topics (KIP-516): a topic that is deleted and made anew has the same name and offsets, but another id.

aiokafka does not ask for them yet, so the request is spelled out here: Metadata, version 10.
"""

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any
from uuid import UUID

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

from service_kit.kafka import KafkaClients

REQUEST_TIMEOUT_MS = 5000
_NO_ID = UUID(int=0)


async def topic_ids(kafka: KafkaClients, topics: Iterable[str]) -> Mapping[str, str]:
    """The id of each topic, as 32 hexadecimal digits. A topic that is missing is not created.

    Raises `KafkaError`: the broker does not answer, or lacks a topic.
    """
    async with kafka.started(kafka.client(request_timeout_ms=REQUEST_TIMEOUT_MS)) as client:
        answer = await client.send(client.get_random_node(), _MetadataRequest(sorted(topics)))
    ids = {}
    for code, name, topic_id, *_ in answer.topics:
        if code:
            error: type[KafkaError] = for_code(code)
            missing = error is UnknownTopicOrPartitionError
            raise error(f"topic {name} does not exist" if missing else f"topic {name}")
        ids[name] = topic_id.hex
    return ids


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
