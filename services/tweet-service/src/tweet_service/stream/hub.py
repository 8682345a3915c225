"""The hub of `/v1/stream`: one change stream of MongoDB for all subscribers of a process.

The change stream is open while there are subscribers, and a while longer for those that reconnect. A subscriber resumes
from the buffer if that reaches back far enough, else from MongoDB's log, until it has caught up with the buffer.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import time
from typing import Self

import structlog
from bson import Timestamp
from pymongo.errors import PyMongoError

from service_kit.background import BackgroundTask, Supervisor, stray_cancellations
from service_kit.error_texts import error_text
from service_kit.retry import Backoff
from service_kit.sse.buffer import EventBuffer
from service_kit.sse.events import UNAVAILABLE, heartbeat
from service_kit.sse.hub import Hub, Subscription
from service_kit.sse.limits import HubLimits, StreamClient
from tweet_service.limits.fair_semaphore import FairSemaphore
from tweet_service.metrics import StreamMetrics
from tweet_service.settings import Settings
from tweet_service.stream.events import StreamEvent, StreamFilter, id_field, is_position, position_at, time_of
from tweet_service.stream.presentation import EventPresenter
from tweet_service.stream.problems import LOST, InvalidPosition, PositionLost, StreamInvalidated
from tweet_service.stream.repository import Batch, TweetChanges

log = structlog.get_logger(__name__)

_BACKOFF = Backoff(initial=0.1, maximum=2.0)
# How long the change stream stays open without subscribers.
LINGER_SECONDS = 30.0
_WAIT_MS = 1000
# For reading the log up to its end: the server answers without waiting for a further change.
_NO_WAIT_MS = 1
_BATCH = 100
# Reads of MongoDB's log at the same time, of all subscribers that catch up and of those of one client. Together they
# leave the driver's connections (`repository.connect`) room for the change stream that all share.
LOG_READS, LOG_READS_PER_CLIENT = 8, 2
# Tolerated difference of clocks.
_FUTURE_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class StreamLimits(HubLimits):
    """`buffered` events are kept for all subscribers; `seconds` is the longest duration of a stream."""

    buffered: int
    seconds: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            clients=settings.tweet_stream_clients,
            clients_per_address=settings.tweet_stream_clients_per_address,
            clients_per_account=settings.tweet_stream_clients_per_account,
            heartbeat_seconds=settings.tweet_stream_heartbeat_seconds,
            buffered=settings.tweet_stream_backlog,
            seconds=settings.tweet_stream_seconds,
        )


class TweetSubscription(Subscription[StreamEvent]):
    """A subscriber, from now on or after a position."""

    def __init__(self, hub: "TweetHub", wanted: StreamFilter, after: str | None, client: StreamClient) -> None:
        super().__init__(hub, self._is_wanted)
        self._tweet_hub = hub
        self._network = client.network
        self._filter = wanted
        self._requested = after
        self._after = ""
        self._log: AsyncGenerator[Batch, None] | None = None

    @property
    def position(self) -> str:
        """The subscriber has taken all events up to here, unless there are events to take."""
        return self._after if self._log is not None else max(self._after, self._hub.buffer.position)

    def opening(self) -> bytes:
        return id_field(self._requested or self.position)

    def heartbeat(self) -> bytes:
        return heartbeat(self.position)

    async def begin(self) -> Sequence[bytes]:
        """Returns the first events of MongoDB's log if it resumes there. Raises `PositionLost`, `InvalidPosition`."""
        hub, after = self._tweet_hub, self._requested
        if after is None:
            self._after = hub.started_at
            return await super().begin()
        if not is_position(after) or time_of(after).time > time() + _FUTURE_SECONDS:
            raise InvalidPosition
        self._after = after
        if await hub.reach_back_to(after, self._network):
            self._join_buffer()
            hub.stream_metrics.resumed.labels("backlog").inc()
            return []
        self._log = hub.changes.after(after, batch_size=_BATCH, wait_ms=_NO_WAIT_MS)
        events = await self._take_from_log(self._log)
        hub.stream_metrics.resumed.labels("log").inc()
        return [event.text for event in events]

    async def close(self) -> None:
        if self._log is not None:
            await self._log.aclose()

    def _is_wanted(self, event: StreamEvent) -> bool:
        return event.position > self._after and self._filter.matches(event)

    def _join_buffer(self) -> None:
        """Follow the buffer from here. It may contain earlier events, which `_is_wanted` excludes."""
        self._cursor = self._hub.buffer.number_after(self._after)

    @property
    def _follows_buffer(self) -> bool:
        return self._log is None

    async def _take(self) -> list[StreamEvent]:
        if self._log is None:
            return self._take_from_buffer()
        try:
            return await self._take_from_log(self._log)
        except (PositionLost, InvalidPosition):
            raise LOST from None
        except PyMongoError as error:
            log.warning("reading MongoDB's log failed", error=error_text(error))
            raise UNAVAILABLE from None

    async def _take_from_log(self, batches: AsyncGenerator[Batch, None]) -> list[StreamEvent]:
        async with self._tweet_hub.log_reads.hold(self._network):
            batch = await anext(batches, None)
            if batch is None:
                raise StreamInvalidated
            changes = [change for change in batch.changes if self._filter.matches_change(change)]
            events = await self._tweet_hub.presenter.events(changes)
        self._after = batch.position
        if self._hub.buffer.reaches_back_to(self._after):
            await batches.aclose()
            self._log = None
            self._join_buffer()
        return events


class TweetHub(Hub[StreamEvent]):
    def __init__(
        self,
        changes: TweetChanges,
        presenter: EventPresenter,
        metrics: StreamMetrics,
        limits: StreamLimits,
        supervisor: Supervisor,
    ) -> None:
        super().__init__(EventBuffer(limits.buffered), metrics, limits)
        self.changes = changes
        self.presenter = presenter
        self.stream_metrics = metrics
        self.stream_limits = limits
        # Position of the start. Events after it are new.
        self.started_at = ""
        # A batch must not push events out of the buffer that no subscriber had time to take.
        self._batch_size = max(1, min(_BATCH, limits.buffered // 4))
        self._starting: asyncio.Task[None] | None = None
        self._following: BackgroundTask | None = None
        self._supervisor = supervisor
        self.log_reads = FairSemaphore(LOG_READS, LOG_READS_PER_CLIENT)
        self._extending = FairSemaphore(1)
        # The buffer could not be extended to this position, so it can't be extended to earlier ones.
        self._too_far = ""
        self._left_at = 0.0

    @asynccontextmanager
    async def subscription(
        self, wanted: StreamFilter, after: str | None, client: StreamClient
    ) -> AsyncIterator[TweetSubscription]:
        """A subscriber, during the context. Raises `TooManyStreams`, `TooManyStreamsOfClient`, errors of the driver."""
        async with self._subscribed(TweetSubscription(self, wanted, after, client), client) as subscription:
            yield subscription

    async def reach_back_to(self, position: str, network: str) -> bool:
        """Whether the buffer contains all events after a position. If there is room, it is extended to the position.

        After a restart all subscribers return at the same time: the events that they have missed are read once for all.
        `network` is the client's. Raises `PositionLost`, `InvalidPosition` and errors of the driver.
        """
        if self.buffer.reaches_back_to(position):
            return True
        async with self._extending.hold(network):
            buffer = self.buffer
            if buffer.reaches_back_to(position):
                return True
            if position <= self._too_far or not buffer.room:
                return False
            events = await self._events_between(position, buffer)
            if events is None or buffer is not self.buffer:
                self._too_far = position
                return False
            buffer.prepend(events, position)
            return True

    async def _events_between(self, position: str, buffer: EventBuffer[StreamEvent]) -> list[StreamEvent] | None:
        """The events between a position and the buffer; None if the buffer has no room for them."""
        events: list[StreamEvent] = []
        async with aclosing(self.changes.after(position, batch_size=_BATCH, wait_ms=_NO_WAIT_MS)) as batches:
            async for batch in batches:
                if len(events) + len(batch.changes) > buffer.room + _BATCH:
                    return None
                events += await self.presenter.events(batch.changes)
                if buffer.reaches_back_to(batch.position):
                    break
        missing = [event for event in events if event.position <= buffer.low]
        return missing if len(missing) <= buffer.room else None

    async def close(self) -> None:
        self.end()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._following is not None:
            await self._following.stop()

    def _on_leave(self) -> None:
        self._left_at = asyncio.get_running_loop().time()

    async def _start_source(self) -> None:
        if self._following is None:
            if self._starting is None or self._starting.done():
                self._starting = asyncio.create_task(self._start(), name="tweet-stream-start")
            with stray_cancellations():
                await asyncio.shield(self._starting)

    async def _start(self) -> None:
        last = await self.changes.now()
        # The buffer begins before the last change, although no subscriber wants that: while nothing changes, MongoDB
        # only reports that everything before the last change was read, and the buffer must reach back to that.
        self.buffer = EventBuffer(self.stream_limits.buffered, position=position_at(last))
        self.started_at = position_at(Timestamp(last.time, last.inc + 1))
        self._too_far = ""
        follow = partial(self._follow, self.buffer)
        self._following = self._supervisor.task("tweet-stream", follow, may_finish=True)
        self._following.start()

    async def _follow(self, buffer: EventBuffer[StreamEvent]) -> None:
        """Publish changes while there are subscribers. After an error it continues where it was.

        The same holds for a restart of this task, unless another start has replaced the buffer.
        """
        failures = 0
        while self._following is not None and self.buffer is buffer:
            reached = buffer.position
            try:
                await self._publish_changes()
            except (PositionLost, InvalidPosition) as error:
                if buffer.position < self.started_at:
                    # The last change before the start was a drop of the collection. No subscriber has missed an event.
                    buffer.advance(self.started_at)
                    continue
                # Events are missing, so each subscriber must resume by itself.
                log.error("change stream lost its position, all streams end", error=error_text(error))  # noqa: TRY400 - not a bug
                self._cut_all(LOST)
                self._following = None
            except Exception as error:  # noqa: BLE001 - the subscribers stay, whatever the error is
                failures = 1 if buffer.position != reached else failures + 1
                delay = _BACKOFF.delay(failures)
                log.warning(
                    "change stream interrupted, retrying", error=error_text(error), retry_seconds=round(delay, 2)
                )
                self.stream_metrics.interruptions.inc()
                await asyncio.sleep(delay)

    async def _publish_changes(self) -> None:
        """Returns when there are no subscribers any more."""
        batches = self.changes.after(self.buffer.position, batch_size=self._batch_size, wait_ms=_WAIT_MS)
        async with aclosing(batches):
            async for batch in batches:
                events = await self.presenter.events(batch.changes)
                for event in events:
                    self.stream_metrics.events.labels(event.kind).inc()
                self._publish(events)
                self.buffer.advance(batch.position)
                if self._is_deserted():
                    # A subscriber that arrives while this change stream is being closed starts another one.
                    self._following = None
                    return
        raise StreamInvalidated

    def _is_deserted(self) -> bool:
        return not self._subscriptions and asyncio.get_running_loop().time() > self._left_at + LINGER_SECONDS
