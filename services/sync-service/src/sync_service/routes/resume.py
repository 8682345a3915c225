"""Resumes a stopped or paused route, for the HTTP API and for the command.

The processes notice it in MySQL (`kafka.stops`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic
from sync_service.kafka.admin import OffsetRange, committed_offsets, existing_topics, offset_ranges
from sync_service.kafka.clients import consumer_of_topics
from sync_service.kafka.placement import placement
from sync_service.kafka.stops import Skip, Stop, Stops
from sync_service.routes.config import Route
from sync_service.routes.problems import OffsetOutOfRange, RouteNotStopped

log = structlog.get_logger(__name__)

_CLIENT = "sync-service-resume"


@dataclass(frozen=True, slots=True)
class EventsToPass:
    """Offsets by partition: the events before them are skipped without a trace, or discarded as dead letters."""

    skip_to: Mapping[int, int]
    discard_to: Mapping[int, int]

    def __bool__(self) -> bool:
        return bool(self.skip_to or self.discard_to)


class RouteResumer:
    """`stops` must be those of the running service's MySQL schema, `group_id` its consumer group."""

    def __init__(self, kafka: KafkaClients, group_id: str, stops: Stops) -> None:
        self._kafka = kafka
        self._group_id = group_id
        self._stops = stops

    async def resume(self, route: Route, events: EventsToPass, *, by: str) -> Sequence[Stop]:
        """Start a stopped or paused route again. Returns the stops that it had.

        Raises `RouteNotStopped`, `OffsetOutOfRange`, `Unavailable`, and `KafkaError` if there are events to pass.
        """
        await self._stops.refresh()
        stops = self._stops.of(route.topic)
        if not stops:
            raise RouteNotStopped(f"Route {route.name} is not stopped.")
        skips = await self._skips(route.topic, stops, events, by) if events else []
        await self._stops.resume(route.topic, skips)
        log.info(
            "route resumed",
            route=route.name,
            by=by,
            stops=[str(stop) for stop in stops],
            skipped_to=dict(events.skip_to),
            discarded_to=dict(events.discard_to),
            notable=True,
        )
        return stops

    async def _skips(self, topic_name: str, stops: Sequence[Stop], events: EventsToPass, by: str) -> list[Skip]:
        topic = (await existing_topics(self._kafka, [topic_name]))[topic_name]
        asked = {partition: (offset, False) for partition, offset in events.skip_to.items()}
        asked.update({partition: (offset, True) for partition, offset in events.discard_to.items()})
        if unknown := sorted(asked.keys() - set(topic.partitions)):
            raise OffsetOutOfRange(f"Topic {topic_name} has no partition {unknown[0]}.")
        reached, ends = await self._positions(topic, sorted(asked), stops)
        for partition, (offset, _) in asked.items():
            if not reached[partition] < offset <= ends[partition]:
                raise OffsetOutOfRange(
                    f"Partition {partition} of {topic_name} is applied up to offset {reached[partition]} and ends at "
                    f"{ends[partition]}: the offset to continue at must be above the first and not above the second."
                )
        return [
            Skip(topic_name, topic.id, partition, offset, discards, by)
            for partition, (offset, discards) in asked.items()
        ]

    async def _positions(
        self, topic: Topic, numbers: Sequence[int], stops: Sequence[Stop]
    ) -> tuple[Mapping[int, int], Mapping[int, int]]:
        """The offset at which each partition continues without skips, and the one at which it ends."""
        partitions = [TopicPartition(topic.name, number) for number in numbers]
        async with self._kafka.started(self._kafka.admin()) as admin:
            committed = dict(await committed_offsets(admin, self._group_id, partitions))
        async with consumer_of_topics(self._kafka, [topic], client_id=_CLIENT) as consumer:
            ranges = await offset_ranges(consumer, partitions)
        for stop in stops:
            # The commit of this offset may have failed.
            if stop.partition is not None and stop.next_offset is not None and stop.topic_id == topic.id:
                committed[TopicPartition(topic.name, stop.partition)] = OffsetAndMetadata(stop.next_offset, topic.id)
        return (
            {each.partition: _reached(each, topic, ranges[each], committed.get(each)) for each in partitions},
            {each.partition: ranges[each].end for each in partitions},
        )


def _reached(partition: TopicPartition, topic: Topic, kept: OffsetRange, committed: OffsetAndMetadata | None) -> int:
    return placement(partition, topic.id, kept, committed).offset
