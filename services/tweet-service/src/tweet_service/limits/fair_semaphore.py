"""Semaphores and locks that clients share fairly: one that waits for many permits does not delay the others."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class FairSemaphore:
    """At most `permits` are held at the same time, at most `permits_per_client` of them by one client.

    Waiting clients get free permits in rotation (round-robin), and the tasks of one client in their order.
    """

    def __init__(self, permits: int, permits_per_client: int | None = None) -> None:
        self._free = permits
        self._most = permits if permits_per_client is None else permits_per_client
        self._held: Counter[str] = Counter()
        # The waiting tasks of each client. The first client is the next one.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def hold(self, client: str) -> AsyncIterator[None]:
        """Wait for a permit, and hold it during the context."""
        await self.acquire(client)
        try:
            yield
        finally:
            self.release(client)

    async def acquire(self, client: str) -> None:
        granted = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(granted)
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if not granted.cancelled():
                # The permit came in the same turn of the event loop as the cancellation.
                self.release(client)
            raise

    def release(self, client: str) -> None:
        self._free += 1
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
        self._grant()

    def _grant(self) -> None:
        while self._free and (client := self._next_client()) is not None:
            tasks = self._waiting[client]
            granted = tasks.popleft()
            if not granted.cancelled():
                granted.set_result(None)
                self._free -= 1
                self._held[client] += 1
                self._waiting.move_to_end(client)
            if not tasks:
                del self._waiting[client]

    def _next_client(self) -> str | None:
        return next((client for client in self._waiting if self._held[client] < self._most), None)


class FairLocks:
    """A lock for each key, within this process."""

    def __init__(self) -> None:
        # Weak values: a lock disappears when no task holds it or waits for it.
        self._locks: WeakValueDictionary[Hashable, FairSemaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, key: Hashable, client: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(key, FairSemaphore(1))
        async with lock.hold(client):
            yield
