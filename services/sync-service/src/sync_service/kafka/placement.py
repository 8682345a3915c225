"""Decides where an assigned partition is read from. Pure."""

from dataclasses import dataclass, replace

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from sync_service.kafka.admin import OffsetRange
from sync_service.kafka.gaps import Gap
from sync_service.kafka.stops import Skip


@dataclass(frozen=True, slots=True)
class Placement:
    """The offset to read from. Events in `gaps` are not read; `why` is for the log.

    `discard` are events that are read and not applied.
    """

    offset: int
    gaps: tuple[Gap, ...] = ()
    why: str | None = None
    discard: Skip | None = None

    def after(self, skip: Skip | None) -> "Placement":
        """This placement without the events that an operator has decided to skip or discard."""
        if skip is None or self.offset >= skip.end:
            return self
        if skip.discards:
            return replace(self, discard=skip)
        reason = f"skipped by {skip.by}"
        skipped = Gap(skip.topic, skip.topic_id, skip.partition, self.offset, skip.end, reason, "skipped")
        return replace(self, offset=skip.end, gaps=(*self.gaps, skipped))


def placement(
    partition: TopicPartition, topic_id: str, offset_range: OffsetRange, committed: OffsetAndMetadata | None
) -> Placement:
    """The metadata of `committed` is the id of the topic; earlier releases wrote none."""
    begin, end = offset_range.begin, offset_range.end

    def gap(first: int, until: int | None, reason: str, of_topic: str = topic_id) -> Gap:
        return Gap(partition.topic, of_topic, partition.partition, first, until, reason)

    beginning = (gap(0, begin, "they were deleted before they were read"),) if begin else ()
    if committed is None:
        return Placement(begin, beginning, "no offset is committed")
    if committed.metadata and committed.metadata != topic_id:
        former = gap(committed.offset, None, "the topic was created again", committed.metadata)
        return Placement(begin, (former, *beginning), "the topic was created again")
    if committed.offset < begin:
        missing = gap(committed.offset, begin, "they were deleted before they were read")
        return Placement(begin, (missing,), "the next events were deleted before they were read")
    if committed.offset > end:
        # New events that get these offsets could be taken for redeliveries.
        missing = gap(end, committed.offset, "the broker lost them after they were read, and gives their offsets again")
        return Placement(begin, (missing,), "the broker has lost events that were read")
    return Placement(committed.offset)
