"""When topics were last seen to grow."""

import time
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from service_kit.kafka import fetch_metadata


class GrowthReader:
    """Compares the ends of topics. Raises `KafkaError` if the broker does not answer.

    The consumer is its own, without partitions: a broker answers a request for ends only after a fetch that waits for
    records.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._ends: Mapping[TopicPartition, int] = {}
        # Times of the monotonic clock.
        self._grew_at: dict[str, float] = {}

    async def ages(self, topics: Mapping[str, int]) -> dict[str, float]:
        """Seconds since each of these topics, given with their numbers of partitions, was seen to grow.

        Without those that have not grown since they were first seen.
        """
        await fetch_metadata(self._consumer, topics)
        partitions = [TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)]
        ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(partitions) if partitions else {}
        now = time.monotonic()
        for partition, end in ends.items():
            if end > self._ends.get(partition, end):
                self._grew_at[partition.topic] = now
        self._ends = ends
        return {topic: now - grew_at for topic, grew_at in self._grew_at.items() if topic in topics}
