"""The hub of the stream on a change stream and a presenter that are lists: new events, resuming, interruptions."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest
from bson import Timestamp
from prometheus_client import CollectorRegistry
from pymongo.errors import AutoReconnect

from service_kit.background import Supervisor
from service_kit.sse.events import StreamEnded
from service_kit.sse.limits import StreamClient
from support.polling import eventually
from tweet_service.metrics import StreamMetrics
from tweet_service.stream import hub as hub_module
from tweet_service.stream.events import StreamEvent, StreamFilter, position_at
from tweet_service.stream.hub import StreamLimits, TweetHub, TweetSubscription
from tweet_service.stream.presentation import EventPresenter
from tweet_service.stream.problems import InvalidPosition, PositionLost
from tweet_service.stream.repository import Batch, Change, TweetChanges

DEADLINE_SECONDS = 120
SOMEONE, OTHER = StreamClient("192.0.2.1"), StreamClient("192.0.2.2")


def position(number: int) -> str:
    return f"{position_at(Timestamp(1_700_000_000, number))}2B0229"


class FakeChanges:
    """A log of numbered changes. Positions before `oldest` are lost; `fail_next` is raised once."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.oldest = 0
        self.fail_next: Exception | None = None
        self._added = asyncio.Event()

    def add(self, *numbers: int) -> None:
        self.numbers += numbers
        self._added.set()

    async def now(self) -> Timestamp:
        return Timestamp(1_700_000_000, max(self.numbers, default=0))

    async def after(self, start: str, *, batch_size: int, wait_ms: int) -> AsyncGenerator[Batch, None]:
        if start < position(self.oldest)[: len(start)]:
            raise PositionLost
        while True:
            if self.fail_next is not None:
                error, self.fail_next = self.fail_next, None
                raise error
            found = [number for number in self.numbers if position(number) > start][:batch_size]
            if found:
                start = position(found[-1])
            yield Batch([{"number": number, "operationType": "insert"} for number in found], start)
            if not found:
                self._added.clear()
                async with asyncio.timeout(wait_ms / 1000):
                    await self._added.wait()


class FakePresenter:
    async def events(self, changes: Sequence[Change]) -> list[StreamEvent]:
        return [StreamEvent(position(each["number"]), "tweet", str(each["number"]).encode()) for each in changes]


@asynccontextmanager
async def running_hub(changes: FakeChanges, buffered: int = 100) -> AsyncIterator[TweetHub]:
    registry = CollectorRegistry()
    hub = TweetHub(
        cast("TweetChanges", changes),
        cast("EventPresenter", FakePresenter()),
        StreamMetrics(registry),
        StreamLimits(
            clients=10,
            clients_per_address=10,
            clients_per_account=10,
            heartbeat_seconds=3600,
            buffered=buffered,
            seconds=3600,
        ),
        Supervisor(registry),
    )
    yield hub
    await hub.close()


async def taken(subscription: TweetSubscription, count: int, first: Sequence[bytes] = ()) -> list[int]:
    texts = list(first)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(texts) < count:
            texts += await subscription.next()
    return [int(text) for text in texts]


async def test_subscriber_gets_new_events() -> None:
    changes = FakeChanges()
    changes.add(1, 2)
    async with running_hub(changes) as hub, hub.subscription(StreamFilter(), None, SOMEONE) as subscription:
        assert await subscription.begin() == []
        changes.add(3, 4)
        assert await taken(subscription, 2) == [3, 4]


async def test_subscriber_resumes_from_the_buffer_which_is_extended_to_its_position() -> None:
    changes = FakeChanges()
    changes.add(1, 2, 3)
    async with running_hub(changes) as hub, hub.subscription(StreamFilter(), position(1), SOMEONE) as subscription:
        first = await subscription.begin()
        assert await taken(subscription, 2, first) == [2, 3]
        assert hub.buffer.reaches_back_to(position(1))
        changes.add(4)
        assert await taken(subscription, 1) == [4]


async def test_subscriber_resumes_from_the_log_and_joins_the_buffer() -> None:
    changes = FakeChanges()
    changes.add(*range(1, 301))
    async with (
        running_hub(changes, buffered=4) as hub,
        hub.subscription(StreamFilter(), position(10), SOMEONE) as subscription,
    ):
        first = await subscription.begin()
        assert await taken(subscription, 290, first) == list(range(11, 301))
        changes.add(301)
        assert await taken(subscription, 1) == [301]


class BlockedChanges(FakeChanges):
    """Reading the log from the position `blocked` waits until `proceed`; `blocked_reads` do. `starts` are all reads."""

    def __init__(self, blocked: str) -> None:
        super().__init__()
        self._blocked = blocked
        self.blocked_reads = 0
        self.proceed = asyncio.Event()
        self.starts: list[str] = []

    async def is_blocked(self) -> bool:
        return self.blocked_reads > 0

    async def after(self, start: str, *, batch_size: int, wait_ms: int) -> AsyncGenerator[Batch, None]:
        self.starts.append(start)
        if start == self._blocked:
            self.blocked_reads += 1
            await self.proceed.wait()
            self.blocked_reads -= 1
        async for batch in super().after(start, batch_size=batch_size, wait_ms=wait_ms):
            yield batch


async def resumed(hub: TweetHub, after: str, client: StreamClient, count: int) -> list[int]:
    async with hub.subscription(StreamFilter(), after, client) as subscription:
        return await taken(subscription, count, await subscription.begin())


async def test_client_that_resumes_many_streams_does_not_delay_another() -> None:
    changes = BlockedChanges(position(10))
    changes.add(*range(1, 301))
    async with running_hub(changes, buffered=4) as hub, hub.subscription(StreamFilter(), None, SOMEONE) as live:
        await live.begin()
        for number in range(301, 310):
            changes.add(number)
            assert await taken(live, 1) == [number]
        assert not hub.buffer.room
        attack = [asyncio.create_task(resumed(hub, position(10), SOMEONE, 299)) for _ in range(8)]
        await eventually(changes.is_blocked)
        assert await resumed(hub, position(20), OTHER, 289) == list(range(21, 310))
        assert changes.blocked_reads == hub_module.LOG_READS_PER_CLIENT
        changes.proceed.set()
        assert await asyncio.gather(*attack) == [list(range(11, 310))] * 8


async def test_client_that_resumes_many_streams_is_one_of_those_for_whom_the_buffer_is_extended() -> None:
    changes = BlockedChanges(position(10))
    changes.add(*range(1, 301))
    async with running_hub(changes, buffered=4) as hub:
        # Each position is later than those that were too far for the buffer.
        attack = [
            asyncio.create_task(resumed(hub, position(number), SOMEONE, 300 - number)) for number in range(10, 18)
        ]
        await eventually(changes.is_blocked)
        other = asyncio.create_task(resumed(hub, position(200), OTHER, 100))
        await asyncio.sleep(0)
        changes.proceed.set()
        assert await other == list(range(201, 301))
        assert [len(numbers) for numbers in await asyncio.gather(*attack)] == list(range(290, 282, -1))
        first_read, *resumes = dict.fromkeys(changes.starts)
        assert first_read not in (position(10), position(200)), "the one that subscribers share"
        assert resumes.index(position(200)) <= 2


async def test_positions_that_are_invalid_or_lost_are_refused() -> None:
    changes = FakeChanges()
    changes.add(*range(1, 200))
    changes.oldest = 100
    async with running_hub(changes, buffered=4) as hub:
        for after, problem in (("nonsense", InvalidPosition), (position(5), PositionLost)):
            async with hub.subscription(StreamFilter(), after, SOMEONE) as subscription:
                with pytest.raises(problem):
                    await subscription.begin()


async def test_interrupted_change_stream_continues_at_its_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_BACKOFF", hub_module.Backoff(initial=0.0, maximum=0.0))
    changes = FakeChanges()
    async with running_hub(changes) as hub, hub.subscription(StreamFilter(), None, SOMEONE) as subscription:
        await subscription.begin()
        changes.add(1)
        assert await taken(subscription, 1) == [1]
        changes.fail_next = AutoReconnect("down")
        changes.add(2, 3)
        assert await taken(subscription, 2) == [2, 3]


async def test_lost_position_ends_all_streams() -> None:
    changes = FakeChanges()
    async with running_hub(changes) as hub, hub.subscription(StreamFilter(), None, SOMEONE) as subscription:
        await subscription.begin()
        changes.add(1)
        assert await taken(subscription, 1) == [1]
        changes.fail_next = PositionLost()
        changes.add(2)
        with pytest.raises(StreamEnded) as ended:
            await taken(subscription, 5)
        assert ended.value.code == PositionLost.code


async def test_stream_starts_again_after_it_was_closed_without_subscribers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LINGER_SECONDS", 0.0)
    monkeypatch.setattr(hub_module, "_WAIT_MS", 10)
    changes = FakeChanges()
    async with running_hub(changes) as hub:
        for number in (1, 3):
            async with hub.subscription(StreamFilter(), None, SOMEONE) as subscription:
                await subscription.begin()
                changes.add(number)
                assert await taken(subscription, 1) == [number]

            async def is_closed(unwanted: int = number + 1) -> bool:
                changes.add(unwanted)
                return hub._following is None

            await eventually(is_closed)
