"""The age of each connector's newest heartbeat."""

import time
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from service_kit.kafka import fetch_metadata

POLL_MS = 100
# Reading starts this many offsets before the end of a partition. The last offsets need not be records: transactions end
# with markers, which consumers do not receive.
_BACKWARD_OFFSETS = 200


class HeartbeatReader:
    """Reads heartbeat topics, starting near their ends. Raises `KafkaError` if the broker does not answer."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._ends: dict[TopicPartition, int] = {}
        # Times of the monotonic clock.
        self._received_at: dict[str, float] = {}

    async def follow(self, topics: Mapping[str, int]) -> None:
        """Read exactly these topics, given with their numbers of partitions."""
        partitions = {TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)}
        if partitions == self._ends.keys():
            return
        # Before the assignment: a broker answers these requests only after a fetch that waits for records.
        await fetch_metadata(self._consumer, topics)
        ends = await self._consumer.end_offsets(partitions) if partitions else {}
        begins = await self._consumer.beginning_offsets(partitions) if partitions else {}
        self._consumer.assign(partitions)
        for partition, end in ends.items():
            self._consumer.seek(partition, max(begins[partition], end - _BACKWARD_OFFSETS))
        self._ends = ends

    async def ages(self) -> dict[str, float]:
        """Seconds since the newest heartbeat of each topic that has one.

        A heartbeat that is written while this reader runs is dated by its arrival, so that the clocks of other machines
        do not matter.
        """
        if not self._ends:
            return {}
        now = time.monotonic()
        for partition, records in (await self._consumer.getmany(timeout_ms=POLL_MS)).items():
            is_new = records[-1].offset >= self._ends[partition]
            age = 0.0 if is_new else max(0.0, time.time() - max(record.timestamp for record in records) / 1000)
            self._received_at[partition.topic] = max(now - age, self._received_at.get(partition.topic, float("-inf")))
        return {topic: now - received_at for topic, received_at in self._received_at.items()}
