"""Reads the newest retained events of a topic, and maps them as a route would."""

from collections.abc import Mapping
from contextlib import aclosing

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic, describe_topics
from sync_service.apply.decode import decode_change
from sync_service.debezium.errors import InvalidEvent
from sync_service.kafka.admin import OffsetRange, offset_ranges
from sync_service.kafka.clients import consumer_of_topics, read_until
from sync_service.kafka.deadlines import within
from sync_service.planning.plan import Copy, EventsPlan

_CLIENT_ID = "sync-service-plan"
_ANSWER_SECONDS = 10.0
# For the most events that are read.
_READ_SECONDS = 300.0


def newest_offsets(kept: Mapping[TopicPartition, OffsetRange], limit: int) -> Mapping[TopicPartition, tuple[int, int]]:
    """The newest offsets of each partition, at most `limit` together. Pure. Small partitions leave theirs to others."""
    chosen: dict[TopicPartition, tuple[int, int]] = {}
    by_size = sorted(kept.items(), key=lambda each: each[1].end - each[1].begin)
    for number, (partition, offsets) in enumerate(by_size):
        share = min(offsets.end - offsets.begin, limit // (len(by_size) - number))
        limit -= share
        if share:
            chosen[partition] = (offsets.end - share, offsets.end)
    return chosen


async def read_events(kafka: KafkaClients, before: Copy | None, after: Copy, limit: int) -> EventsPlan | None:
    """What becomes of at most `limit` events. None if the topic does not exist yet. Raises `KafkaError`.

    `before` is the live route, if it has the same topic.
    """
    plan, name = EventsPlan(), after.route.topic
    async with within(_ANSWER_SECONDS, "the broker does not answer"):
        found = (await describe_topics(kafka, [name]))[name]
    if isinstance(found, UnknownTopicOrPartitionError):
        return None
    if not isinstance(found, Topic):
        raise found
    async with (
        within(_READ_SECONDS, "the events could not be read"),
        consumer_of_topics(kafka, [found], client_id=_CLIENT_ID) as consumer,
    ):
        async with within(_ANSWER_SECONDS, "the broker has no offsets"):
            kept = await offset_ranges(consumer, found.topic_partitions)
        plan.total = sum(each.end - each.begin for each in kept.values())
        async with aclosing(read_until(consumer, newest_offsets(kept, limit))) as records:
            async for record in records:
                place = f"{record.topic}-{record.partition}@{record.offset}"
                reason = _dead_letter(after, record)
                already = reason is not None and before is not None and _dead_letter(before, record) is not None
                plan.note(place, reason, is_dead_letter_already=already)
    return plan


def _dead_letter(copy: Copy, record: "ConsumerRecord[bytes, bytes]") -> str | None:
    """Why the route would make a dead letter of the record; None if it would not."""
    try:
        change = decode_change(copy.route, record.key, record.value, topic_partition="", number=record.offset)
    except InvalidEvent as error:
        return f"{type(error).__name__}: {error}"
    return None if change is None or change.values is None else copy.refused(change.key, change.values)
