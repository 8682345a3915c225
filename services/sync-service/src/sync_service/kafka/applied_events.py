"""The events of a topic that the consumer group has applied."""

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import describe_topics_by
from sync_service.kafka.admin import committed_offsets
from sync_service.kafka.clients import REQUEST_TIMEOUT_MS
from sync_service.kafka.gaps import Gap

_REASON = "they were applied to a copy that no longer exists"


async def applied_events(kafka: KafkaClients, topic: str, group_id: str) -> list[Gap]:
    """The applied events of each partition, as gaps of a copy that is created empty. Raises `KafkaError`.

    Without those of an earlier topic of this name: its end is a gap of its own (`kafka.placement`).
    """
    async with kafka.started(kafka.admin(request_timeout_ms=REQUEST_TIMEOUT_MS)) as admin:
        found = (await describe_topics_by(admin, [topic]))[topic]
        if isinstance(found, UnknownTopicOrPartitionError):
            return []
        if isinstance(found, KafkaError):
            raise found
        committed = await committed_offsets(admin, group_id, found.topic_partitions)
    return [
        Gap(topic, found.id, partition.partition, 0, applied.offset, _REASON, "lost-copy")
        for partition, applied in committed.items()
        if applied.offset > 0 and applied.metadata in {"", found.id}
    ]
