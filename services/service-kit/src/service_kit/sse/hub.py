"""The subscribers of one source of events.

A subscriber has no queue, only a cursor: the number of the next event in the shared buffer. A thousand subscribers are
a thousand numbers. A subscriber whose cursor has fallen out of the buffer reads too slowly and is cut off; it never
delays the others.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, Protocol, TypeVar

from prometheus_client import Counter, Gauge

from service_kit.sse.buffer import EventBuffer, EventT
from service_kit.sse.events import FINISHED, TOO_SLOW, StreamEnded, TooManyStreams, heartbeat
from service_kit.sse.limits import HubLimits, OpenStreams, StreamClient

# Events that a subscriber takes before others can take theirs.
_MAX_TAKEN = 64


class HubMetrics(Protocol):
    """`clients` are the current subscribers, `dropped` counts those that were too slow."""

    clients: Gauge
    dropped: Counter


class Subscription(Generic[EventT]):
    """One subscriber. `sending` is True while data is being sent; `on_cut` is called when it is cut off."""

    def __init__(self, hub: "Hub[EventT]", wants: Callable[[EventT], bool]) -> None:
        self._hub = hub
        self._wants = wants
        self._cursor = 0
        self._end: StreamEnded | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.sending = False
        self.on_cut: Callable[[], object] | None = None

    async def begin(self) -> Sequence[bytes]:
        """Start with the next event, or resume. Returns the first messages. Raises problems that refuse the stream."""
        self._cursor = self._hub.buffer.end
        return []

    def opening(self) -> bytes:
        """Lines before the first message."""
        return b""

    def heartbeat(self) -> bytes:
        return heartbeat()

    def text_of(self, event: EventT) -> bytes:
        """The event as this subscriber gets it."""
        return event.text

    async def next(self) -> Sequence[bytes]:
        """The next messages; none after `heartbeat_seconds` of silence. Raises `StreamEnded`."""
        loop = asyncio.get_running_loop()
        heartbeat_at = loop.time() + self._hub.limits.heartbeat_seconds
        while True:
            if self._end is not None:
                raise self._end
            events = await self._take()
            if events or loop.time() >= heartbeat_at:
                return [self.text_of(event) for event in events]
            if self._follows_buffer and self._cursor == self._hub.buffer.end:
                await self._wait(heartbeat_at)

    def notify(self, events: Sequence[EventT], first: int) -> None:
        """There are new events in the buffer, from this number on. Wakes the subscriber if it wants one of them."""
        if self._waiter is None:
            if self.sending and self._follows_buffer and self._cursor < self._hub.buffer.first:
                self.cut(TOO_SLOW)
        elif not self._waiter.done():
            for number, event in enumerate(events, first):
                if self._wants(event):
                    self._cursor = number
                    self._waiter.set_result(None)
                    return
            self._cursor = self._hub.buffer.end

    def cut(self, end: StreamEnded) -> None:
        """End the stream now. The first reason counts."""
        if self._end is not None:
            return
        self._end = end
        if end is TOO_SLOW:
            self._hub.metrics.dropped.inc()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self.on_cut is not None:
            self.on_cut()

    async def close(self) -> None:
        """Release what the subscription holds."""

    @property
    def _follows_buffer(self) -> bool:
        """False while a subclass takes events from elsewhere (a log, to catch up)."""
        return True

    async def _take(self) -> list[EventT]:
        """The next events without waiting for one."""
        return self._take_from_buffer()

    def _take_from_buffer(self) -> list[EventT]:
        buffer = self._hub.buffer
        if self._cursor < buffer.first:
            self.cut(TOO_SLOW)
            raise TOO_SLOW
        events: list[EventT] = []
        while self._cursor < buffer.end and len(events) < _MAX_TAKEN:
            event = buffer[self._cursor]
            self._cursor += 1
            if self._wants(event):
                events.append(event)
        return events

    async def _wait(self, until: float) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._waiter
        finally:
            self._waiter = None


SubscriptionT = TypeVar("SubscriptionT", bound=Subscription[Any])


class Hub(ABC, Generic[EventT]):
    """Base of a service's hub, which publishes the events of its source while there are subscribers."""

    def __init__(self, buffer: EventBuffer[EventT], metrics: HubMetrics, limits: HubLimits) -> None:
        self.buffer = buffer
        self.metrics = metrics
        self.limits = limits
        self._subscriptions: set[Subscription[EventT]] = set()
        self._open = OpenStreams(limits)
        self._ended = False

    @abstractmethod
    async def _start_source(self) -> None:
        """Start publishing unless the source runs already. Subscribers that arrive meanwhile share one start."""

    def _on_leave(self) -> None:
        """Called when a subscriber has left."""

    @asynccontextmanager
    async def _subscribed(self, subscription: SubscriptionT, client: StreamClient) -> AsyncIterator[SubscriptionT]:
        """Keep a subscription during the context.

        Raises `TooManyStreams`, `TooManyStreamsOfClient`, and errors of the source.
        """
        if self._ended:
            raise TooManyStreams
        with self._open.counted(client):
            self._subscriptions.add(subscription)
            self.metrics.clients.set(len(self._subscriptions))
            try:
                await self._start_source()
                yield subscription
            finally:
                self._subscriptions.discard(subscription)
                self.metrics.clients.set(len(self._subscriptions))
                self._on_leave()
                await subscription.close()

    def _publish(self, events: Sequence[EventT]) -> None:
        first = self.buffer.end
        for event in events:
            self.buffer.append(event)
        for subscription in tuple(self._subscriptions):
            subscription.notify(events, first)

    def _cut_all(self, end: StreamEnded) -> None:
        for subscription in tuple(self._subscriptions):
            subscription.cut(end)

    def end(self) -> None:
        """End all streams and refuse new ones, because the process is going to stop."""
        self._ended = True
        self._cut_all(FINISHED)
