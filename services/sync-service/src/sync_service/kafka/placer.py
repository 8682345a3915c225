"""Finds where assigned partitions are read from, and records the gaps that it finds."""

import time
from collections.abc import Mapping

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from service_kit.kafka import KafkaClients
from sync_service.apply.processor import RouteProcessor
from sync_service.kafka.admin import OffsetRange, committed_offsets, offset_ranges_or_errors
from sync_service.kafka.assignment import Assignment
from sync_service.kafka.clients import REQUEST_TIMEOUT_MS
from sync_service.kafka.deadlines import within
from sync_service.kafka.gaps import REMEDY, Gaps
from sync_service.kafka.partition import PartitionWorker
from sync_service.kafka.placement import Placement, placement
from sync_service.kafka.route_topics import RouteTopics
from sync_service.kafka.stops import Stops
from sync_service.sinks.base import Unavailable

log = structlog.get_logger(__name__)

PLACE_SECONDS = 20.0
# The pause before a partition is tried again.
RETRY_SECONDS = 1.0
# Longer after requests without an answer: no other partition is polled while they wait.
UNANSWERED_SECONDS = 10.0


class PartitionPlacer:
    """Places the partitions of an assignment: seeks each to the committed offset, or to its beginning.

    The consumer does not do that itself (`auto_offset_reset="none"`), so that no gap is skipped silently.
    """

    def __init__(
        self,
        kafka: KafkaClients,
        group_id: str,
        assignment: Assignment,
        *,
        topics: RouteTopics,
        gaps: Gaps,
        stops: Stops,
        processors: Mapping[str, RouteProcessor],
    ) -> None:
        """`processors` by topic."""
        self._kafka = kafka
        self._group_id = group_id
        self._assignment = assignment
        self._topics = topics
        self._gaps = gaps
        self._stops = stops
        self._processors = processors
        self._place_at: dict[TopicPartition, float] = {}
        # The offset at which this process gave a partition up, with the id of the topic.
        self._reached: dict[TopicPartition, OffsetAndMetadata] = {}

    def note_revoked(self, worker: PartitionWorker) -> None:
        """Remember how far a partition was: its offset may not be committed when it is assigned again."""
        self._place_at.pop(worker.partition, None)
        if worker.next_offset is not None:
            self._reached[worker.partition] = OffsetAndMetadata(worker.next_offset, worker.topic_id)

    def hold_unplaced(self, consumer: AIOKafkaConsumer) -> None:
        """Fetch nothing from unplaced partitions: the consumer's position in them means nothing."""
        for partition in self._assignment.unplaced:
            if (worker := self._assignment.workers.get(partition)) is None:
                continue
            consumer.pause(partition)
            if worker.next_offset is None:
                # Any position: aiokafka fetches nothing from a broker while one of its partitions has none.
                consumer.seek(partition, 0)

    async def place(self, consumer: AIOKafkaConsumer) -> None:
        """Place the unplaced partitions whose worker is idle. Raises `KafkaError` if the broker does not answer.

        A partition that was read before is placed only when all its fetched records are applied. Otherwise the offset
        that is committed then would skip records that are still in work. A partition without a leader is tried again
        later, and does not delay the others.
        """
        assignment = self._assignment
        if not (partitions := self._placeable()):
            return
        generation = assignment.generation
        async with within(PLACE_SECONDS, "the offsets to begin at could not be read"):
            async with self._kafka.started(self._kafka.admin(request_timeout_ms=REQUEST_TIMEOUT_MS)) as admin:
                committed = await committed_offsets(admin, self._group_id, partitions)
            answers = await offset_ranges_or_errors(consumer, partitions)
        if assignment.generation != generation:
            return
        kept = self._answered(answers)
        places = {}
        for partition in kept:
            topic_id, failed_at = self._topics.readable[partition.topic].id, assignment.unplaced[partition]
            known = committed.get(partition) or self._reached.get(partition)
            if failed_at is not None:
                known = OffsetAndMetadata(failed_at, topic_id)
            skip = self._stops.skip_of(partition.topic, topic_id, partition.partition)
            places[partition] = placement(partition, topic_id, kept[partition], known).after(skip)
        recorded = await self._record_gaps(places)
        if assignment.generation != generation:
            return
        placed = {partition: place for partition, place in places.items() if recorded or not place.gaps}
        for partition, place in placed.items():
            consumer.seek(partition, place.offset)
            del assignment.unplaced[partition]
            worker = assignment.workers[partition]
            worker.note_recovery()
            is_committed = committed.get(partition) == OffsetAndMetadata(place.offset, worker.topic_id)
            worker.start_at(place.offset, commit=not is_committed, discard=place.discard)
            consumer.resume(partition)
        _log_beginnings(placed)

    def _placeable(self) -> list[TopicPartition]:
        """The unplaced partitions that are to be tried now: they have a leader, as far as is known."""
        assignment, placeable = self._assignment, []
        for partition in assignment.unplaced:
            worker = assignment.workers.get(partition)
            if worker is None or not worker.is_idle or time.monotonic() < self._place_at.get(partition, 0.0):
                continue
            if partition.partition in self._topics.readable[partition.topic].leaderless:
                reason = f"Kafka: partition {partition.partition} of topic {partition.topic} has no leader"
                self._postpone({partition: Unavailable(reason)}, RETRY_SECONDS)
            else:
                placeable.append(partition)
        return placeable

    def _answered(
        self, answers: Mapping[TopicPartition, OffsetRange | KafkaError]
    ) -> Mapping[TopicPartition, OffsetRange]:
        """Postpone the partitions without an answer. Raises `KafkaError` if this process reads no partition at all."""
        answered = {partition: found for partition, found in answers.items() if isinstance(found, OffsetRange)}
        errors = {partition: found for partition, found in answers.items() if isinstance(found, KafkaError)}
        if errors and not answered and not self._assignment.next_offsets():
            raise next(iter(errors.values()))
        self._postpone(
            {
                partition: Unavailable(
                    f"Kafka: the offsets of partition {partition.partition} of topic {partition.topic} can't be read: "
                    f"{error}"
                )
                for partition, error in errors.items()
            },
            UNANSWERED_SECONDS,
        )
        return answered

    def _postpone(self, reasons: Mapping[TopicPartition, Unavailable], seconds: float) -> None:
        """Not by the retry helper: the consumer has to be polled in between."""
        for partition, reason in reasons.items():
            if (worker := self._assignment.workers.get(partition)) is not None:
                worker.note_failure(reason)
                self._place_at[partition] = time.monotonic() + seconds

    async def _record_gaps(self, places: Mapping[TopicPartition, Placement]) -> bool:
        """A gap is skipped only after it is stored. False if MySQL does not answer."""
        gaps = [gap for place in places.values() for gap in place.gaps]
        if not gaps:
            return True
        try:
            await self._gaps.record(gaps)
        except Unavailable as error:
            self._postpone({partition: error for partition, place in places.items() if place.gaps}, RETRY_SECONDS)
            return False
        for gap in gaps:
            name = self._processors[gap.topic].route.name
            log.warning("the copy is in doubt", route=name, reason=str(gap), way_on=REMEDY, notable=True)
        return True


def _log_beginnings(places: Mapping[TopicPartition, Placement]) -> None:
    """One line for the partitions of a topic."""
    beginnings: dict[tuple[str, str], list[int]] = {}
    for partition, place in places.items():
        if place.why is not None:
            beginnings.setdefault((partition.topic, place.why), []).append(partition.partition)
    for (topic, why), numbers in beginnings.items():
        log.info("read from the beginning", topic=topic, partitions=sorted(numbers), why=why, notable=True)
