"""The partitions that this process has been assigned."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition

from sync_service.kafka.partition import PartitionWorker


@dataclass(slots=True)
class Assignment:
    """What the group member shares with the modules that read its lag and place its partitions.

    `consumer` is None while none is connected. `unplaced` are partitions whose starting offset is not known yet; the
    value is the offset at which reading failed. `generation` counts rebalances, so that a caller that waited for the
    broker can tell whether its partitions are still the same.
    """

    consumer: AIOKafkaConsumer | None = None
    workers: dict[TopicPartition, PartitionWorker] = field(default_factory=dict)
    unplaced: dict[TopicPartition, int | None] = field(default_factory=dict)
    generation: int = 0

    def all_workers(self) -> Sequence[PartitionWorker]:
        return tuple(self.workers.values())

    def next_offsets(self) -> dict[TopicPartition, int]:
        """Of the first record of each placed partition that is not applied yet."""
        return {worker.partition: worker.next_offset for worker in self.all_workers() if worker.next_offset is not None}

    @property
    def unplaced_topics(self) -> frozenset[str]:
        """Topics with an unplaced partition: their lag is unknown."""
        return frozenset(partition.topic for partition in self.unplaced if partition in self.workers)
