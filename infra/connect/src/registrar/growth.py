"""When topics were last seen to grow."""

import time
from collections.abc import Iterable, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition


class GrowthReader:
    """Compares the ends of topics. Raises `KafkaError` if the broker does not answer."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._ends: Mapping[TopicPartition, int] = {}
        # Topics of which the consumer has metadata, which it forgets with another assignment.
        self._known: set[str] = set()
        self._assigned: frozenset[TopicPartition] = frozenset()
        # Times of the monotonic clock.
        self._grew_at: dict[str, float] = {}

    async def ages(self, topics: Mapping[str, int]) -> dict[str, float]:
        """Seconds since each of these topics, given with their numbers of partitions, was seen to grow.

        Without those that have not grown since they were first seen.
        """
        await self._learn(topics)
        partitions = [TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)]
        ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(partitions) if partitions else {}
        now = time.monotonic()
        for partition, end in ends.items():
            if end > self._ends.get(partition, end):
                self._grew_at[partition.topic] = now
        self._ends = ends
        return {topic: now - grew_at for topic, grew_at in self._grew_at.items() if topic in topics}

    async def _learn(self, topics: Iterable[str]) -> None:
        """aiokafka fetches metadata of one unknown topic at a time, and of many not within the timeout of a request."""
        assigned = frozenset(self._consumer.assignment())
        if assigned != self._assigned:
            self._assigned = assigned
            self._known.clear()
        for topic in topics:
            if topic not in self._known:
                await self._consumer.end_offsets([TopicPartition(topic, 0)])
                self._known.add(topic)
