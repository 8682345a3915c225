"""The lag of the partitions that this process has been assigned."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from service_kit.background import stray_cancellations
from service_kit.kafka import KafkaClients
from sync_service.kafka.assignment import Assignment
from sync_service.kafka.clients import ends_by_new_connection, is_readable
from sync_service.kafka.deadlines import within
from sync_service.kafka.progress import Progress

LAG_SECONDS = 2.0
# The deadline of each of the two requests for end offsets.
END_OFFSETS_SECONDS = 0.9
WATCHDOG_CLIENT_ID = "sync-service-watchdog"


class LagReader:
    """Compares the offsets that are done with the ends of the partitions."""

    def __init__(self, kafka: KafkaClients, assignment: Assignment, topics: Collection[str]) -> None:
        self._kafka = kafka
        self._assignment = assignment
        self._topics = topics

    @property
    def unplaced_topics(self) -> frozenset[str]:
        return self._assignment.unplaced_topics

    async def by_topic(self) -> dict[str, int]:
        """`lag_to` the ends of the partitions now. Raises `KafkaError`, as `ends` does."""
        return self.lag_to(await self.ends())

    def lag_to(self, ends: Mapping[TopicPartition, int]) -> dict[str, int]:
        """Events of the assigned partitions before these ends that are not applied yet, without the `unplaced_topics`.

        Empty while no partition is assigned.
        """
        if not self._assignment.workers:
            return {}
        lag = dict.fromkeys(self._topics, 0)
        for partition, progress in self._progress_to(ends).items():
            lag[partition.topic] += progress.lag
        return {topic: events for topic, events in lag.items() if topic not in self.unplaced_topics}

    async def progress(self) -> dict[TopicPartition, Progress]:
        """The progress of each assigned partition. Raises `KafkaError`, as `ends` does."""
        return self._progress_to(await self.ends())

    async def ends(self) -> Mapping[TopicPartition, int]:
        """The end of each placed partition. Raises `KafkaError` after `LAG_SECONDS` at the latest."""
        consumer, partitions = self._assignment.consumer, list(self._assignment.next_offsets())
        if consumer is None or not partitions:
            return {}
        with stray_cancellations(KafkaError):
            async with within(LAG_SECONDS, "no answer"):
                return await end_offsets(consumer, partitions)

    def has_all(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Do these ends include every partition that is placed now?"""
        return self._assignment.next_offsets().keys() <= ends.keys()

    async def progress_by_new_connection(self) -> dict[TopicPartition, Progress]:
        """As `progress`, without the member's consumer, which may be at fault. Raises `KafkaError`."""
        if not (partitions := list(self._assignment.next_offsets())):
            return {}
        return self._progress_to(await ends_by_new_connection(self._kafka, partitions, client_id=WATCHDOG_CLIENT_ID))

    def last_known_progress(self) -> dict[TopicPartition, Progress]:
        """As `progress`, without a request: to the ends that came with the latest fetch."""
        consumer = self._assignment.consumer
        if consumer is None:
            return {}
        return self._progress_to(_fetched_ends(consumer, list(self._assignment.next_offsets())))

    async def stalls(self, partition: TopicPartition) -> bool:
        """Is it this process that makes no progress with a partition, and not the broker that does not serve it?"""
        worker = self._assignment.workers.get(partition)
        if worker is None or worker.next_offset is None:
            return False
        if not worker.is_idle:
            return True
        return await is_readable(self._kafka, partition, worker.next_offset, client_id=WATCHDOG_CLIENT_ID)

    def _progress_to(self, ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, Progress]:
        """Of the partitions that are still assigned."""
        return {
            worker.partition: Progress(
                done=worker.next_offset, end=ends[worker.partition], oldest_seconds=worker.oldest_seconds
            )
            for worker in self._assignment.all_workers()
            if worker.next_offset is not None and worker.partition in ends
        }


async def end_offsets(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
    """The offsets after the last events. Raises `KafkaError` if the broker answers for no partition.

    One partition without a leader makes the request for all of them fail. Then each is asked for alone, and one without
    an answer ends where the latest fetch saw its end: without a leader it gets no new events. Partitions that were
    revoked meanwhile are left out.
    """
    try:
        async with within(END_OFFSETS_SECONDS, "no answer"):
            return dict(await consumer.end_offsets(list(partitions)))
    except KafkaError:
        pass

    async def end(partition: TopicPartition) -> int:
        async with within(END_OFFSETS_SECONDS, "no answer"):
            return int((await consumer.end_offsets([partition]))[partition])

    answers = dict(zip(partitions, await asyncio.gather(*map(end, partitions), return_exceptions=True), strict=True))
    ends = {partition: answer for partition, answer in answers.items() if isinstance(answer, int)}
    failures = [answer for answer in answers.values() if isinstance(answer, BaseException)]
    if failures and not ends:
        raise failures[0]
    return {**_fetched_ends(consumer, partitions), **ends}


def _fetched_ends(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """As of the latest fetch, or 0. Partitions that are no longer assigned are left out: aiokafka asserts that."""
    assigned = consumer.assignment()
    return {partition: consumer.highwater(partition) or 0 for partition in partitions if partition in assigned}
