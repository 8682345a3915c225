"""The topics and the connectors' heartbeats, as the broker has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from registrar.growth import GrowthReader
from registrar.heartbeats import HeartbeatReader
from registrar.topics import REQUEST_TIMEOUT_MS, TopicReconciler
from service_kit.background import stray_cancellations
from service_kit.kafka import KafkaClients, stop

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class BrokerState:
    """By heartbeat topic: `ages` are seconds since the newest heartbeat, `unread` the reasons why it can't be read.

    By declared topic: `growth` are seconds since it was seen to grow. `created` are topics.
    """

    created: Sequence[str] = ()
    ages: Mapping[str, float] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    growth: Mapping[str, float] = field(default_factory=dict)


class Broker:
    """Keeps its connections while the broker answers, and opens new ones after a failure.

    The `other` topics of `topics` are those of the heartbeats.
    """

    def __init__(self, kafka: KafkaClients, topics: TopicReconciler) -> None:
        self.topics = topics
        self._kafka = kafka
        self._admin: AIOKafkaAdminClient | None = None
        self._consumers: list[AIOKafkaConsumer] = []
        self._reader: HeartbeatReader | None = None
        self._growth: GrowthReader | None = None

    async def poll(self) -> BrokerState:
        """Raises `KafkaError` if the broker does not answer."""
        try:
            created = await self._reconcile()
        except BaseException:
            await self.close()
            raise
        unread = {
            topic: f"topic {topic} {self.topics.problems.get(topic, 'is missing')}"
            for topic in self.topics.other
            if topic not in self.topics.partitions
        }
        try:
            with stray_cancellations(KafkaError):
                return BrokerState(created, await self._ages(), unread, await self._growth_ages())
        except KafkaError as error:
            await self._close_reader()
            reason = await self._kafka.explain(error)
            return BrokerState(created, {}, {**dict.fromkeys(self.topics.other, reason), **unread})
        except BaseException:
            # The next poll would start both consumers again.
            await self._close_reader()
            raise

    async def close(self) -> None:
        """Close the connections. Errors are only logged."""
        await self._close_reader()
        admin, self._admin = self._admin, None
        await _stop(admin)

    async def _reconcile(self) -> list[str]:
        if self._admin is None:
            admin = self._kafka.admin(request_timeout_ms=REQUEST_TIMEOUT_MS)
            await self._kafka.start(admin)
            self._admin = admin
        return await self.topics.reconcile(self._admin)

    async def _ages(self) -> Mapping[str, float]:
        if self._reader is None:
            reader = HeartbeatReader(await self._start_consumer())
            self._growth = GrowthReader(await self._start_consumer())
            self._reader = reader
        partitions = self.topics.partitions
        await self._reader.follow({topic: partitions[topic] for topic in self.topics.other if topic in partitions})
        return await self._reader.ages()

    async def _growth_ages(self) -> Mapping[str, float]:
        if self._growth is None:
            return {}
        declared = self.topics.declared.keys()
        return await self._growth.ages({topic: n for topic, n in self.topics.partitions.items() if topic in declared})

    async def _start_consumer(self) -> AIOKafkaConsumer:
        consumer = self._kafka.consumer(
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        await self._kafka.start(consumer)
        self._consumers.append(consumer)
        return consumer

    async def _close_reader(self) -> None:
        self._reader = self._growth = None
        while self._consumers:
            await _stop(self._consumers.pop())


async def _stop(client: AIOKafkaConsumer | AIOKafkaAdminClient | None) -> None:
    if client is None:
        return
    try:
        await stop(client)
    except Exception as error:
        log.debug("client could not be closed", client=type(client).__name__, exc_info=error)
