"""When each connector last gave a sign of life."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition

POLL_MS = 100


class HeartbeatReader:
    """Reads heartbeat topics from their ends on. Raises `KafkaError` if the broker does not answer."""

    def __init__(self, bootstrap_servers: str, topics: Sequence[str]) -> None:
        self._partitions = [TopicPartition(topic, 0) for topic in topics]
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=5000,
        )
        self._last_seen: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        # The newest one there is tells the age at once.
        ends = await self._consumer.end_offsets(self._partitions)
        for partition in self._partitions:
            self._consumer.seek(partition, max(0, ends[partition] - 1))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    async def ages(self) -> dict[str, float]:
        """Seconds since the newest heartbeat of each topic that has one."""
        for partition, records in (await self._consumer.getmany(timeout_ms=POLL_MS)).items():
            self._last_seen[partition.topic] = max(record.timestamp for record in records) / 1000
        now = time.time()
        return {topic: max(0.0, now - seen) for topic, seen in self._last_seen.items()}
