"""The hub of `/v1/events`: one Kafka consumer for all subscribers of a process.

The consumer starts with the first subscriber, at the end of the topics, and ends with the last one. It belongs to no
consumer group, so it commits no offsets, and each process has its own.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from types import MappingProxyType
from typing import Self

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from service_kit.background import failure_of
from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic, describe_topics
from service_kit.sse.buffer import EventBuffer
from service_kit.sse.events import UNAVAILABLE, message
from service_kit.sse.hub import Hub, Subscription
from service_kit.sse.limits import HubLimits, StreamClient
from sync_service.change_feed.event_view import EventFilter, EventView, render
from sync_service.kafka.discovery import discovering_consumer
from sync_service.metrics import FeedMetrics
from sync_service.routes.personal import PersonalFields
from sync_service.routes.problems import UnknownRoute
from sync_service.settings import Settings

log = structlog.get_logger(__name__)

MAX_BUFFER_BYTES = 16 * 1024 * 1024
_POLL_MS = 250
_TOPICS_SECONDS = 0.5
_ALL = PersonalFields(None)
# Small batches, so that the consumer of the sync, in the same process, has its turn.
_BATCH = 50


@dataclass(frozen=True)
class FeedEvent:
    """`text` is encoded once for all subscribers. Nothing resumes the feed, so events have no position.

    `masked` is the event for subscribers who may not read personal fields.
    """

    view: EventView
    personal: PersonalFields

    @cached_property
    def text(self) -> bytes:
        return message("broken" if self.view.operation is None else "change", self.view.as_json())

    @cached_property
    def masked(self) -> "FeedEvent":
        return self if self.personal.is_empty else FeedEvent(self.view.without(self.personal), self.personal)

    @property
    def position(self) -> str:
        return ""


class FeedSubscription(Subscription[FeedEvent]):
    """`reads_personal`: the subscriber may read personal fields. The filter sees what the subscriber sees."""

    def __init__(self, hub: "Feed", event_filter: EventFilter, *, reads_personal: bool) -> None:
        super().__init__(hub, lambda event: event_filter.matches(self._seen(event).view))
        self._reads_personal = reads_personal

    def text_of(self, event: FeedEvent) -> bytes:
        return self._seen(event).text

    def _seen(self, event: FeedEvent) -> FeedEvent:
        return event if self._reads_personal else event.masked


@dataclass(frozen=True, kw_only=True)
class FeedLimits(HubLimits):
    """`buffered` events are kept for all subscribers."""

    buffered: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            clients=settings.sync_feed_clients,
            clients_per_address=settings.sync_feed_clients_per_address,
            clients_per_account=settings.sync_feed_clients_per_account,
            heartbeat_seconds=settings.sync_feed_heartbeat_seconds,
            buffered=settings.sync_feed_backlog,
        )


class Feed(Hub[FeedEvent]):
    """`routes` are names of routes by topic, `personal` the personal fields of their events.

    Of a topic that `personal` lacks, all content is personal.
    """

    def __init__(
        self,
        kafka: KafkaClients,
        routes: Mapping[str, str],
        metrics: FeedMetrics,
        limits: FeedLimits,
        *,
        personal: Mapping[str, PersonalFields] = MappingProxyType({}),
    ) -> None:
        super().__init__(EventBuffer(limits.buffered, max_bytes=MAX_BUFFER_BYTES), metrics, limits)
        self._kafka = kafka
        self._routes, self._personal = routes, personal
        # A batch must not push events out of the buffer that no subscriber had time to take.
        self._batch_size = max(1, min(_BATCH, limits.buffered // 4))
        self._following: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None

    @asynccontextmanager
    async def subscription(
        self, event_filter: EventFilter, client: StreamClient, *, reads_personal: bool = False
    ) -> AsyncIterator[FeedSubscription]:
        """A subscriber, during the context. Raises `TooManyStreams`, `TooManyStreamsOfClient`, `KafkaError`."""
        subscription = FeedSubscription(self, event_filter, reads_personal=reads_personal)
        async with self._subscribed(subscription, client):
            yield subscription

    def topics_of(self, route: str) -> Collection[str]:
        """Raises `UnknownRoute`."""
        topics = {topic for topic, name in self._routes.items() if name == route}
        if not topics:
            raise UnknownRoute
        return topics

    def change_routes(self, routes: Mapping[str, str], personal: Mapping[str, PersonalFields]) -> None:
        """Read other topics from now on. Streams continue; of an added topic they get the events from now on."""
        self._routes, self._personal = routes, personal

    async def close(self) -> None:
        self.end()
        if (following := self._following) is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _start_source(self) -> None:
        if self._started is None:
            self._started = asyncio.get_running_loop().create_future()
            self._following = asyncio.create_task(self._follow(self._started), name="feed")
            self._following.add_done_callback(partial(self._on_end, self._started))
        await asyncio.shield(self._started)

    async def _follow(self, started: "asyncio.Future[None]") -> None:
        """Publish change events while there are subscribers and the broker answers."""
        positions: dict[TopicPartition, int] = {}
        while self._started is started:
            routes = self._routes
            # The first route of a running service has its topic some seconds later.
            if not routes or (started.done() and not await self._has_topics(routes)):
                await self._wait_for_topics(started)
                continue
            async with discovering_consumer(self._kafka, routes, client_id="sync-service-feed") as discovering:
                consumer = discovering.consumer
                await _continue_at(consumer, positions)
                if not started.done():
                    started.set_result(None)
                while self._subscriptions and self._routes is routes:
                    await discovering.discover()
                    await self._publish_records(consumer)
                if self._subscriptions:
                    positions = {each: await consumer.position(each) for each in consumer.assignment()}
                else:
                    # A subscriber that arrives while the consumer is being closed starts another one.
                    self._forget(started)

    async def _has_topics(self, routes: Collection[str]) -> bool:
        """Raises `KafkaError` if the broker does not answer."""
        described = await describe_topics(self._kafka, routes)
        return any(isinstance(found, Topic) for found in described.values())

    async def _wait_for_topics(self, started: "asyncio.Future[None]") -> None:
        """Subscribers get heartbeats meanwhile."""
        if not started.done():
            started.set_result(None)
        await asyncio.sleep(_TOPICS_SECONDS)
        if not self._subscriptions:
            self._forget(started)

    def _on_end(self, started: "asyncio.Future[None]", following: asyncio.Task[None]) -> None:
        """End the streams, however the task has ended. The next subscriber starts another one."""
        error = failure_of(following)
        if not started.done():
            started.set_exception(error if isinstance(error, KafkaError) else KafkaError(repr(error)))
            # Retrieved here in case no subscriber waits for it any more.
            started.exception()
        elif self._started is started and not self._ended:
            log.warning("the feed lost its consumer, all streams end", error=repr(error))
            self._cut_all(UNAVAILABLE)
        elif not following.cancelled() and following.exception() is not None:
            log.warning("closing the feed's consumer failed", error=repr(error))
        self._forget(started)

    async def _publish_records(self, consumer: AIOKafkaConsumer) -> None:
        batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=self._batch_size)
        events: list[FeedEvent] = []
        for record in chain.from_iterable(batches.values()):
            if (view := render(record, self._routes)) is None:
                continue
            events.append(FeedEvent(view, self._personal.get(record.topic, _ALL)))
            if sum(len(event.text) for event in events) > MAX_BUFFER_BYTES // 4:
                await self._publish_and_yield(events)
                events = []
        if events:
            await self._publish_and_yield(events)

    async def _publish_and_yield(self, events: list[FeedEvent]) -> None:
        """Publish, and give the subscribers time to take the events."""
        self._publish(events)
        await asyncio.sleep(0)

    def _forget(self, started: "asyncio.Future[None]") -> None:
        if self._started is started:
            self._started = self._following = None


async def _continue_at(consumer: AIOKafkaConsumer, positions: Mapping[TopicPartition, int]) -> None:
    """Continue at these offsets, and at the end of partitions that have none."""
    assigned = consumer.assignment()
    if new := assigned - positions.keys():
        await consumer.seek_to_end(*new)
    for partition in assigned & positions.keys():
        consumer.seek(partition, positions[partition])
