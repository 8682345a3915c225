"""When each connector last gave a sign of life."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from service_kit.kafka import KafkaClients

POLL_MS = 100


class HeartbeatReader:
    """Raises `KafkaError` if the broker does not answer."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._last_seen: dict[str, float] = {}

    async def ages(self) -> dict[str, float]:
        """Seconds since the newest heartbeat of each topic that has one."""
        for partition, records in (await self._consumer.getmany(timeout_ms=POLL_MS)).items():
            self._last_seen[partition.topic] = max(record.timestamp for record in records) / 1000
        now = time.time()
        return {topic: max(0.0, now - seen) for topic, seen in self._last_seen.items()}


@asynccontextmanager
async def heartbeat_reader(kafka: KafkaClients, topics: Sequence[str]) -> AsyncIterator[HeartbeatReader]:
    """Reads heartbeat topics from their ends on. Raises `KafkaError` if the broker does not answer."""
    partitions = [TopicPartition(topic, 0) for topic in topics]
    unstarted = kafka.consumer(enable_auto_commit=False, auto_offset_reset="earliest", request_timeout_ms=5000)
    async with kafka.started(unstarted) as consumer:
        consumer.assign(partitions)
        # The newest one that exists tells the age without a wait for the next one.
        ends = await consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, max(0, ends[partition] - 1))
        yield HeartbeatReader(consumer)
