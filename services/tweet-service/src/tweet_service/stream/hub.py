"""Everybody who listens, and the one change stream that they share.

The hub follows the change stream as long as somebody listens (and a moment longer, for who comes back) and puts each
event into a backlog. Whoever listens has no queue but a number, that of the next event in the backlog to look at: a
thousand listeners hold a thousand numbers. One whose number has fallen out of the backlog reads too slowly and is
dropped; nobody waits for anybody.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from time import time
from typing import Self

import structlog
from bson import Timestamp
from pymongo.errors import PyMongoError

from service_kit.background import BackgroundTask, Supervisor, stray_cancellations
from service_kit.event_stream import FINISHED, TOO_SLOW, UNAVAILABLE, StreamEnded, Subscription, TooManyStreams
from service_kit.retry import Backoff
from tweet_service.metrics import StreamMetrics
from tweet_service.settings import Settings
from tweet_service.stream.backlog import Backlog
from tweet_service.stream.events import StreamEvent, Wanted, heartbeat, is_position, opening, position_at, time_of
from tweet_service.stream.presentation import EventPresenter
from tweet_service.stream.problems import LOST, InvalidPosition, PositionLost, StreamInvalidated
from tweet_service.stream.repository import Batch, TweetChanges

log = structlog.get_logger(__name__)

_BACKOFF = Backoff(initial=0.1, maximum=2.0)
# How long the change stream is kept open when the last one has left.
LINGER_SECONDS = 30.0
_WAIT_MS = 1000
# Who reads the log on his own account asks whether there is more, and does not wait for it.
_NO_WAIT_MS = 1
_CHANGES_AT_ONCE = 100
_EVENTS_AT_ONCE = 64
# Clocks differ.
_FUTURE_SECONDS = 300


@dataclass(frozen=True)
class StreamLimits:
    """`backlog` in events, the same for all listeners; `seconds` is how long a stream may last."""

    clients: int
    backlog: int
    heartbeat_seconds: float
    seconds: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            clients=settings.tweet_stream_clients,
            backlog=settings.tweet_stream_backlog,
            heartbeat_seconds=settings.tweet_stream_heartbeat_seconds,
            seconds=settings.tweet_stream_seconds,
        )


class TweetSubscription(Subscription):
    """One who listens, from now on or from behind a position."""

    def __init__(self, hub: "Hub", wanted: Wanted, behind: str | None) -> None:
        super().__init__(hub.metrics.dropped)
        self._hub = hub
        self._wanted = wanted
        self._asked_behind = behind
        self._behind = ""
        self._next = 0
        self._history: AsyncGenerator[Batch, None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def position(self) -> str:
        """All that is wanted up to here has been taken, as long as there is nothing to take."""
        return self._behind if self._history is not None else max(self._behind, self._hub.backlog.position)

    def opening(self) -> bytes:
        return opening(self._asked_behind or self.position)

    def heartbeat(self) -> bytes:
        return heartbeat(self.position)

    async def begin(self) -> list[bytes]:
        """Answers what MongoDB's log has for a start. Raises `PositionLost`, `InvalidPosition`."""
        behind = self._asked_behind
        if behind is None:
            self._next = self._hub.backlog.end
            self._behind = self._hub.begun
            return []
        if not is_position(behind) or time_of(behind).time > time() + _FUTURE_SECONDS:
            raise InvalidPosition
        self._behind = behind
        if await self._hub.reach_back_to(behind):
            self._join(self._hub.backlog)
            self._hub.metrics.resumed.labels("backlog").inc()
            return []
        self._history = self._hub.changes.behind(behind, at_once=_CHANGES_AT_ONCE, wait_ms=_NO_WAIT_MS)
        events = await self._from_history(self._history)
        self._hub.metrics.resumed.labels("log").inc()
        return [event.text for event in events]

    async def next(self) -> list[bytes]:
        heartbeat_at = asyncio.get_running_loop().time() + self._hub.limits.heartbeat_seconds
        while True:
            if self._ended is not None:
                raise self._ended
            events = self._from_backlog() if self._history is None else await self._more(self._history)
            if events or asyncio.get_running_loop().time() >= heartbeat_at:
                return [event.text for event in events]
            if self._history is None and self._next == self._hub.backlog.end:
                await self._wait(heartbeat_at)

    def notice(self, events: Sequence[StreamEvent], first: int) -> None:
        """There are new events in the backlog, from this number on."""
        if self._waiter is None:
            if self.sending and self._history is None and self._next < self._hub.backlog.first:
                self.cut(TOO_SLOW)
        elif not self._waiter.done():
            for number, event in enumerate(events, first):
                if self._wants(event):
                    self._next = number
                    self._waiter.set_result(None)
                    return
            self._next = self._hub.backlog.end

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def close(self) -> None:
        if self._history is not None:
            await self._history.aclose()

    def _wants(self, event: StreamEvent) -> bool:
        return event.position > self._behind and self._wanted.includes(event)

    def _join(self, backlog: Backlog) -> None:
        """From here on with everybody else. What another process has sent may still have to come: `_wants`."""
        self._next = backlog.number_behind(self._behind)

    def _from_backlog(self) -> list[StreamEvent]:
        backlog = self._hub.backlog
        if self._next < backlog.first:
            self.cut(TOO_SLOW)
            raise TOO_SLOW
        events: list[StreamEvent] = []
        while self._next < backlog.end and len(events) < _EVENTS_AT_ONCE:
            event = backlog[self._next]
            self._next += 1
            if self._wants(event):
                events.append(event)
        return events

    async def _more(self, history: AsyncGenerator[Batch, None]) -> list[StreamEvent]:
        try:
            return await self._from_history(history)
        except (PositionLost, InvalidPosition):
            raise LOST from None
        except PyMongoError as error:
            log.warning("MongoDB's log can't be read", error=repr(error))
            raise UNAVAILABLE from None

    async def _from_history(self, history: AsyncGenerator[Batch, None]) -> list[StreamEvent]:
        batch = await anext(history, None)
        if batch is None:
            raise StreamInvalidated
        changes = [change for change in batch.changes if self._wanted.includes_change(change)]
        events = await self._hub.presenter.events(changes)
        self._behind = batch.position
        if self._hub.backlog.reaches_back_to(self._behind):
            await history.aclose()
            self._history = None
            self._join(self._hub.backlog)
        return events

    async def _wait(self, until: float) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._waiter
        finally:
            self._waiter = None


class Hub:
    def __init__(
        self,
        changes: TweetChanges,
        presenter: EventPresenter,
        metrics: StreamMetrics,
        limits: StreamLimits,
        supervisor: Supervisor,
    ) -> None:
        self.changes = changes
        self.presenter = presenter
        self.metrics = metrics
        self.limits = limits
        self.backlog = Backlog(limits.backlog, "")
        # Behind what was there before.
        self.begun = ""
        # An event that is put in must not push out what nobody had time to look at.
        self._at_once = max(1, min(_CHANGES_AT_ONCE, limits.backlog // 4))
        self._subscriptions: set[TweetSubscription] = set()
        self._starting: asyncio.Task[None] | None = None
        self._following: BackgroundTask | None = None
        self._supervisor = supervisor
        self._extending = asyncio.Lock()
        # A position that was too far back for the backlog: so are those before it.
        self._too_far = ""
        self._left_at = 0.0
        self._ended = False

    @asynccontextmanager
    async def subscription(self, wanted: Wanted, behind: str | None) -> AsyncIterator[TweetSubscription]:
        """Somebody who listens, for the length of the context. Raises `TooManyStreams` and what the driver raises."""
        if self._ended or len(self._subscriptions) >= self.limits.clients:
            raise TooManyStreams
        subscription = TweetSubscription(self, wanted, behind)
        self._subscriptions.add(subscription)
        self.metrics.clients.set(len(self._subscriptions))
        try:
            await self._be_following()
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            self.metrics.clients.set(len(self._subscriptions))
            self._left_at = asyncio.get_running_loop().time()
            await subscription.close()

    async def reach_back_to(self, position: str) -> bool:
        """Does the backlog hold all behind a position? It does if it has room for what it lacks.

        After a restart all come back at once: what they have missed is read once for all. Raises `PositionLost`,
        `InvalidPosition` and what the driver raises.
        """
        if self.backlog.reaches_back_to(position):
            return True
        async with self._extending:
            backlog = self.backlog
            if backlog.reaches_back_to(position):
                return True
            if position <= self._too_far or not backlog.room:
                return False
            events = await self._between(position, backlog)
            if events is None or backlog is not self.backlog:
                self._too_far = position
                return False
            backlog.prepend(events, position)
            return True

    async def _between(self, position: str, backlog: Backlog) -> list[StreamEvent] | None:
        """What happened between a position and the backlog; None if there is no room for it."""
        events: list[StreamEvent] = []
        async with aclosing(self.changes.behind(position, at_once=_CHANGES_AT_ONCE, wait_ms=_NO_WAIT_MS)) as batches:
            async for batch in batches:
                if len(events) + len(batch.changes) > backlog.room + _CHANGES_AT_ONCE:
                    return None
                events += await self.presenter.events(batch.changes)
                if backlog.reaches_back_to(batch.position):
                    break
        lacking = [event for event in events if event.position <= backlog.low]
        return lacking if len(lacking) <= backlog.room else None

    def end(self) -> None:
        """End all streams at once, and take no more: the process is going to stop."""
        self._ended = True
        self._cut_all(FINISHED)

    async def close(self) -> None:
        self.end()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._following is not None:
            await self._following.stop()

    async def _be_following(self) -> None:
        """All who come while it starts wait for the same start, and hear of the same failure."""
        if self._following is None:
            if self._starting is None or self._starting.done():
                self._starting = asyncio.create_task(self._start(), name="tweet-stream-start")
            with stray_cancellations():
                await asyncio.shield(self._starting)

    async def _start(self) -> None:
        last = await self.changes.now()
        # The change that has this time is in it, though nobody has asked for it: of a log in which nothing happens
        # MongoDB only tells that all before the last change has been read, and so far must it reach back.
        self.backlog = Backlog(self.limits.backlog, position_at(last))
        self.begun = position_at(Timestamp(last.time, last.inc + 1))
        self._too_far = ""
        follow = partial(self._follow, self.backlog)
        self._following = self._supervisor.task("tweet-stream", follow, may_finish=True)
        self._following.start()

    def _cut_all(self, why: StreamEnded) -> None:
        for subscription in self._subscriptions:
            subscription.cut(why)

    async def _follow(self, backlog: Backlog) -> None:
        """Until nobody listens any more. After a failure from where it was, as soon as MongoDB is there again.

        Started again it continues from there, too, unless another one has begun with a backlog of its own.
        """
        failures = 0
        while self._following is not None and self.backlog is backlog:
            reached = backlog.position
            try:
                await self._publish_all()
            except (PositionLost, InvalidPosition) as error:
                if backlog.position < self.begun:
                    # The very last that was done before we began was to drop the collection: nobody missed it.
                    backlog.advance(self.begun)
                    continue
                # Nobody can be told what was missed: all may ask for themselves.
                log.error("the change stream can't go on, all streams end", error=repr(error))  # noqa: TRY400 - no bug
                self._cut_all(LOST)
                self._following = None
            except Exception as error:  # noqa: BLE001 - whatever it was, those who listen go on
                failures = 1 if backlog.position != reached else failures + 1
                delay = _BACKOFF.delay(failures)
                log.warning("change stream interrupted, retrying", error=repr(error), retry_seconds=round(delay, 2))
                self.metrics.interruptions.inc()
                await asyncio.sleep(delay)

    async def _publish_all(self) -> None:
        """Returns when nobody listens any more."""
        batches = self.changes.behind(self.backlog.position, at_once=self._at_once, wait_ms=_WAIT_MS)
        async with aclosing(batches):
            async for batch in batches:
                self._publish(await self.presenter.events(batch.changes), batch.position)
                if self._is_deserted():
                    # Who comes while this is being closed starts another.
                    self._following = None
                    return
        raise StreamInvalidated

    def _publish(self, events: Sequence[StreamEvent], position: str) -> None:
        first = self.backlog.end
        for event in events:
            self.backlog.append(event)
            self.metrics.events.labels(event.kind).inc()
        self.backlog.advance(position)
        if events:
            for subscription in self._subscriptions:
                subscription.notice(events, first)

    def _is_deserted(self) -> bool:
        return not self._subscriptions and asyncio.get_running_loop().time() > self._left_at + LINGER_SECONDS
