"""Everybody who listens, and the one consumer that they share.

It begins with the first listener, at the end of the topics, and ends with the last one. It is of no group, so that
nobody's offsets are touched, and each process has its own. Whoever listens has no queue but a number, that of the next
event in the backlog to look at; one whose number has fallen out of it reads too slowly and is dropped, and nobody waits
for anybody.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Self

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from service_kit.background import failure_of
from service_kit.event_stream import (
    FINISHED,
    TOO_SLOW,
    UNAVAILABLE,
    StreamEnded,
    Subscription,
    TooManyStreams,
    message,
)
from service_kit.kafka import KafkaClients
from sync_service.change_feed.backlog import Backlog, FeedEvent
from sync_service.change_feed.event_view import EventFilter, render
from sync_service.kafka.discovery import discovering_consumer
from sync_service.metrics import FeedMetrics
from sync_service.routes.problems import UnknownRoute
from sync_service.settings import Settings

log = structlog.get_logger(__name__)

BACKLOG_BYTES = 16 * 1024 * 1024
_POLL_MS = 250
# So that the sync itself, in the same process, has its turn in between.
_RECORDS_AT_ONCE = 50
_EVENTS_AT_ONCE = 64


@dataclass(frozen=True)
class FeedLimits:
    """`backlog` in events, the same for all listeners."""

    clients: int
    backlog: int
    heartbeat_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            clients=settings.sync_feed_clients,
            backlog=settings.sync_feed_backlog,
            heartbeat_seconds=settings.sync_feed_heartbeat_seconds,
        )


class FeedSubscription(Subscription):
    """One who listens, from now on."""

    def __init__(self, feed: "Feed", event_filter: EventFilter) -> None:
        super().__init__(feed.metrics.dropped)
        self._feed = feed
        self._event_filter = event_filter
        self._next = 0
        self._news = asyncio.Event()

    async def begin(self) -> Sequence[bytes]:
        self._next = self._feed.backlog.end
        return []

    async def next(self) -> Sequence[bytes]:
        heartbeat_at = asyncio.get_running_loop().time() + self._feed.limits.heartbeat_seconds
        with suppress(TimeoutError):
            async with asyncio.timeout_at(heartbeat_at):
                while not (events := self._from_backlog()):
                    self._news.clear()
                    await self._news.wait()
                return [event.text for event in events]
        return []

    def notice(self) -> None:
        """There are new events in the backlog."""
        if self.sending and self._next < self._feed.backlog.first:
            self.cut(TOO_SLOW)
        self._wake()

    def _wake(self) -> None:
        self._news.set()

    def _from_backlog(self) -> list[FeedEvent]:
        backlog = self._feed.backlog
        if self._ended is None and self._next < backlog.first:
            self.cut(TOO_SLOW)
        if self._ended is not None:
            raise self._ended
        events: list[FeedEvent] = []
        while self._next < backlog.end and len(events) < _EVENTS_AT_ONCE:
            event = backlog[self._next]
            self._next += 1
            if self._event_filter.matches(event.view):
                events.append(event)
        return events


class Feed:
    """`routes` are names by topic."""

    def __init__(
        self, kafka: KafkaClients, routes: Mapping[str, str], metrics: FeedMetrics, limits: FeedLimits
    ) -> None:
        self._kafka = kafka
        self._routes = routes
        self.metrics = metrics
        self.limits = limits
        self.backlog = Backlog(limits.backlog, BACKLOG_BYTES)
        # What is put in must not push out what nobody had time to look at.
        self._at_once = max(1, min(_RECORDS_AT_ONCE, limits.backlog // 4))
        self._subscriptions: set[FeedSubscription] = set()
        self._following: asyncio.Task[None] | None = None
        self._begun: asyncio.Future[None] | None = None
        self._ended = False

    @asynccontextmanager
    async def subscription(self, event_filter: EventFilter) -> AsyncIterator[FeedSubscription]:
        """Somebody who listens, for the length of the context. Raises `TooManyStreams`, `KafkaError`."""
        if self._ended or len(self._subscriptions) >= self.limits.clients:
            raise TooManyStreams
        subscription = FeedSubscription(self, event_filter)
        self._subscriptions.add(subscription)
        self.metrics.clients.set(len(self._subscriptions))
        try:
            await self._be_following()
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            self.metrics.clients.set(len(self._subscriptions))

    def topics_of(self, route: str) -> Collection[str]:
        """Raises `UnknownRoute`."""
        topics = {topic for topic, name in self._routes.items() if name == route}
        if not topics:
            raise UnknownRoute
        return topics

    def end(self) -> None:
        """End all streams at once, and take no more: the process is going to stop."""
        self._ended = True
        self._cut_all(FINISHED)

    async def close(self) -> None:
        self.end()
        if (following := self._following) is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _be_following(self) -> None:
        """All who come while it starts wait for the same start, and hear of the same failure."""
        if self._begun is None:
            self._begun = asyncio.get_running_loop().create_future()
            self._following = asyncio.create_task(self._follow(self._begun), name="feed")
            self._following.add_done_callback(partial(self._note_end, self._begun))
        await asyncio.shield(self._begun)

    async def _follow(self, begun: "asyncio.Future[None]") -> None:
        """Until nobody listens any more, or the broker is lost."""
        async with discovering_consumer(self._kafka, self._routes, client_id="sync-service-feed") as discovering:
            consumer = discovering.consumer
            await consumer.seek_to_end(*consumer.assignment())
            begun.set_result(None)
            while self._subscriptions:
                await discovering.discover()
                await self._publish(consumer)
            # Who comes while the consumer is being closed starts another.
            self._forget(begun)

    def _note_end(self, begun: "asyncio.Future[None]", following: asyncio.Task[None]) -> None:
        """However it ended: its listeners hear of it, and the next one to come starts another."""
        error = failure_of(following)
        if not begun.done():
            begun.set_exception(error if isinstance(error, KafkaError) else KafkaError(repr(error)))
            # Also if all who waited for it are gone.
            begun.exception()
        elif self._begun is begun and not self._ended:
            log.warning("the feed's consumer broke off, all streams end", error=repr(error))
            self._cut_all(UNAVAILABLE)
        elif not following.cancelled() and following.exception() is not None:
            log.warning("the feed's consumer could not be closed", error=repr(error))
        self._forget(begun)

    async def _publish(self, consumer: AIOKafkaConsumer) -> None:
        batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=self._at_once)
        fresh = 0
        for record in chain.from_iterable(batches.values()):
            if (view := render(record, self._routes)) is None:
                continue
            text = message("broken" if view.operation is None else "change", view.as_json())
            self.backlog.append(FeedEvent(view, text))
            fresh += len(text)
            if fresh > BACKLOG_BYTES // 4:
                await self._notice()
                fresh = 0
        if fresh:
            await self._notice()

    async def _notice(self) -> None:
        """Those who can send get the time to take what is new."""
        for subscription in tuple(self._subscriptions):
            subscription.notice()
        await asyncio.sleep(0)

    def _forget(self, begun: "asyncio.Future[None]") -> None:
        if self._begun is begun:
            self._begun = self._following = None

    def _cut_all(self, why: StreamEnded) -> None:
        for subscription in tuple(self._subscriptions):
            subscription.cut(why)
