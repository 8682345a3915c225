"""The hub and its subscribers, with a source that is a test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from service_kit.sse.buffer import EventBuffer
from service_kit.sse.events import FINISHED, TOO_SLOW, UNAVAILABLE, StreamEnded, TooManyStreams, TooManyStreamsOfClient
from service_kit.sse.hub import Hub, Subscription
from service_kit.sse.limits import HubLimits, StreamClient

DEADLINE_SECONDS = 120
SOMEONE = StreamClient("192.0.2.1")


@dataclass(frozen=True)
class Event:
    number: int

    @property
    def text(self) -> bytes:
        return str(self.number).encode()

    @property
    def position(self) -> str:
        return f"{self.number:06}"


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.clients = Gauge("clients", "", registry=self.registry)
        self.dropped = Counter("dropped", "", registry=self.registry)


class TestHub(Hub[Event]):
    __test__ = False

    def __init__(self, buffered: int = 8, heartbeat_seconds: float = 3600, **limits: int) -> None:
        self.own_metrics = Metrics()
        most = {"clients": 10, "clients_per_address": 10, "clients_per_account": 10, **limits}
        super().__init__(
            EventBuffer(buffered), self.own_metrics, HubLimits(heartbeat_seconds=heartbeat_seconds, **most)
        )
        self.starts = 0
        self.left = 0
        self.error: Exception | None = None

    async def _start_source(self) -> None:
        self.starts += 1
        if self.error is not None:
            raise self.error

    def _on_leave(self) -> None:
        self.left += 1

    @asynccontextmanager
    async def subscription(
        self, wants: Callable[[Event], bool] = lambda _: True, client: StreamClient = SOMEONE
    ) -> AsyncIterator[Subscription[Event]]:
        async with self._subscribed(Subscription(self, wants), client) as subscription:
            await subscription.begin()
            yield subscription

    def publish(self, *numbers: int) -> None:
        self._publish([Event(number) for number in numbers])

    def count(self, name: str) -> float | None:
        return self.own_metrics.registry.get_sample_value(name)


async def taken(subscription: Subscription[Event]) -> list[int]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return [int(text) for text in await subscription.next()]


async def waiting(subscription: Subscription[Event]) -> asyncio.Task[list[int]]:
    """A task that waits for the next event."""
    task = asyncio.create_task(taken(subscription))
    await asyncio.sleep(0)
    assert subscription._waiter is not None
    return task


async def test_subscriber_gets_events_from_now_on() -> None:
    hub = TestHub()
    hub.publish(1, 2)
    async with hub.subscription() as subscription:
        hub.publish(3, 4)
        assert await taken(subscription) == [3, 4]
        task = await waiting(subscription)
        hub.publish(5)
        assert await task == [5]


async def test_each_subscriber_gets_what_it_wants() -> None:
    hub = TestHub()
    async with hub.subscription() as every, hub.subscription(lambda event: event.number % 2 == 0) as even:
        tasks = [await waiting(every), await waiting(even)]
        hub.publish(1)
        assert await tasks[0] == [1]
        assert not tasks[1].done()
        hub.publish(2, 3, 4)
        assert await tasks[1] == [2, 4]
        assert await taken(every) == [2, 3, 4]


async def test_unwanted_events_do_not_make_a_subscriber_slow() -> None:
    hub = TestHub(buffered=4)
    async with hub.subscription(lambda event: event.number == 100) as subscription:
        task = await waiting(subscription)
        for number in range(50):
            hub.publish(number)
        hub.publish(100)
        assert await task == [100]


async def test_slow_subscriber_is_cut_off_and_the_others_are_not() -> None:
    hub = TestHub(buffered=4)
    async with hub.subscription() as slow, hub.subscription() as quick:
        cut: list[bool] = []
        slow.on_cut = lambda: cut.append(True)
        slow.sending = True
        for number in range(5):
            task = await waiting(quick)
            hub.publish(number)
            assert await task == [number]
        # It is noticed with the next event.
        hub.publish(5)
        assert cut == [True]
        with pytest.raises(StreamEnded) as ended:
            await slow.next()
        assert ended.value is TOO_SLOW
        assert await taken(quick) == [5]
    assert hub.count("dropped_total") == 1


async def test_subscriber_that_has_not_asked_in_time_is_too_slow() -> None:
    hub = TestHub(buffered=2)
    async with hub.subscription() as subscription:
        hub.publish(1, 2, 3)
        with pytest.raises(StreamEnded) as ended:
            await subscription.next()
        assert ended.value is TOO_SLOW


async def test_silence_returns_nothing_for_a_heartbeat() -> None:
    async with TestHub(heartbeat_seconds=0.01).subscription() as subscription:
        assert await taken(subscription) == []
        assert subscription.heartbeat() == b": heartbeat\n\n"


async def test_first_reason_to_end_counts() -> None:
    hub = TestHub()
    async with hub.subscription() as subscription:
        task = await waiting(subscription)
        hub._cut_all(UNAVAILABLE)
        hub.end()
        with pytest.raises(StreamEnded) as ended:
            await task
        assert ended.value is UNAVAILABLE
    assert hub.count("dropped_total") == 0


async def test_end_ends_all_streams_and_refuses_new_ones() -> None:
    hub = TestHub()
    async with hub.subscription() as subscription:
        task = await waiting(subscription)
        hub.end()
        with pytest.raises(StreamEnded) as ended:
            await task
        assert ended.value is FINISHED
    with pytest.raises(TooManyStreams):
        async with hub.subscription():
            pass


async def test_subscribers_are_counted_and_limited() -> None:
    hub = TestHub(clients=2)
    async with hub.subscription(), hub.subscription():
        assert hub.count("clients") == 2
        with pytest.raises(TooManyStreams):
            async with hub.subscription():
                pass
    assert (hub.count("clients"), hub.starts, hub.left) == (0, 2, 2)


async def test_one_address_or_account_can_not_take_all_streams() -> None:
    hub = TestHub(clients=5, clients_per_address=2, clients_per_account=2)
    async with AsyncExitStack() as streams:

        async def take(network: str, account: str | None = None) -> None:
            await streams.enter_async_context(hub.subscription(client=StreamClient(network, account)))

        await take("192.0.2.1")
        await take("192.0.2.1", "ada")
        for account in (None, "ada", "bob"):
            with pytest.raises(TooManyStreamsOfClient):
                await take("192.0.2.1", account)
        await take("192.0.2.2", "ada")
        with pytest.raises(TooManyStreamsOfClient):
            await take("192.0.2.3", "ada")
        await take("192.0.2.3", "bob")
        await take("192.0.2.3")
        with pytest.raises(TooManyStreams):
            await take("192.0.2.4")
    async with AsyncExitStack() as streams:
        # A stream that has ended makes room.
        for _ in range(2):
            await take("192.0.2.1", "ada")


async def test_error_of_the_source_refuses_the_stream() -> None:
    hub = TestHub()
    hub.error = ConnectionError("down")
    with pytest.raises(ConnectionError):
        async with hub.subscription():
            pass
    assert (hub.count("clients"), hub.left) == (0, 1)


async def test_long_backlog_is_taken_in_parts() -> None:
    hub = TestHub(buffered=200)
    async with hub.subscription() as subscription:
        hub.publish(*range(150))
        parts = [await taken(subscription) for _ in range(3)]
        assert [number for part in parts for number in part] == list(range(150))
        assert max(map(len, parts)) < 100
