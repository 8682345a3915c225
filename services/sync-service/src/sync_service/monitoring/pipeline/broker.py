"""The state of the broker: the events of each topic, and the progress of the consumer group.

Progress is what all members of the group have committed, so every process gives the same answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import describe_topics
from sync_service.kafka.admin import committed_offsets, offset_ranges
from sync_service.kafka.clients import StandaloneClients
from sync_service.probe import PROBE_SECONDS, probing

_CLIENT = "sync-service-pipeline"


@dataclass(frozen=True, slots=True)
class PartitionState:
    """`begin` is the offset of the oldest event, `end` the offset of the next new one.

    `committed` is the offset of the next event to apply; None if the group has committed nothing.
    """

    partition: int
    begin: int
    end: int
    committed: int | None

    @property
    def done(self) -> int:
        """The group's offset. Events that are deleted count as done."""
        return max(self.begin, self.committed or 0)

    @property
    def lag(self) -> int:
        """The number of events that the topic has and that are not applied."""
        return max(0, self.end - self.done)


@dataclass(frozen=True, slots=True)
class TopicState:
    """Numbers of events. A topic without `partitions` does not exist."""

    name: str
    partitions: Sequence[PartitionState]

    @property
    def events(self) -> int:
        """The number of events that the topic has."""
        return sum(each.end - each.begin for each in self.partitions)

    @property
    def done(self) -> int:
        return sum(each.done for each in self.partitions)

    @property
    def lag(self) -> int:
        return sum(each.lag for each in self.partitions)


@dataclass(frozen=True, slots=True)
class BrokerState:
    """`topics` are in the order of the request. `members` is the number of members of the consumer group."""

    topics: Sequence[TopicState]
    members: int


class BrokerProbe:
    """Has connections of its own, so that a probe does not wait for the consumer. They are reopened after a failure.

    `topics` returns the names of the current ones.
    """

    def __init__(self, kafka: KafkaClients, topics: Callable[[], Sequence[str]], group_id: str) -> None:
        self._kafka = kafka
        self._topics = topics
        self._group_id = group_id
        self._clients = StandaloneClients(kafka, client_id=_CLIENT, request_timeout_ms=int(PROBE_SECONDS * 1000))

    async def probe(self) -> BrokerState:
        """Raises `ProbeFailed`."""
        try:
            async with probing(KafkaError, OSError):
                return await self._probe_all()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._clients.close()

    async def _probe_all(self) -> BrokerState:
        consumer, admin = await self._clients.connected()
        names = self._topics()
        described = await describe_topics(self._kafka, names)
        partitions = {
            name: [] if isinstance(topic, KafkaError) else topic.topic_partitions for name, topic in described.items()
        }
        everyone = list(chain.from_iterable(partitions.values()))
        if not everyone:
            return BrokerState([TopicState(topic, []) for topic in names], await self._members(admin))
        kept = await offset_ranges(consumer, everyone)
        committed = await committed_offsets(admin, self._group_id, everyone)

        def state(partition: TopicPartition) -> PartitionState:
            offset = committed[partition].offset if partition in committed else None
            return PartitionState(partition.partition, kept[partition].begin, kept[partition].end, offset)

        topics = [TopicState(topic, [state(each) for each in partitions[topic]]) for topic in names]
        return BrokerState(topics, await self._members(admin))

    async def _members(self, admin: AIOKafkaAdminClient) -> int:
        (answer,) = await admin.describe_consumer_groups([self._group_id])
        ((_error, _group, _state, _protocol_type, _protocol, members, *_),) = answer.groups
        return len(members)
