"""Reads whose cost the caller chooses: a process runs a few of them at the same time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from cachetools import LRUCache

from service_kit.problems import ServiceUnavailable
from tweet_service.limits.fair_semaphore import FairSemaphore

WAIT_SECONDS = 2.0

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class CostlyReads:
    """Otherwise some clients' searches would take all processors of MongoDB from everyone's reads.

    Clients (`client_network`) have their turns in rotation, so one with many searches does not delay the others.
    """

    def __init__(self, at_once: int) -> None:
        self._turns = FairSemaphore(at_once)

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it. Raises `ServiceUnavailable` after `WAIT_SECONDS`."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._turns.acquire(client)
        except TimeoutError as error:
            raise ServiceUnavailable("Too many searches are running. Try again shortly.") from error
        try:
            yield
        finally:
            self._turns.release(client)


class CostlyCache(Generic[KeyT, ValueT]):
    """Caches results of costly reads for `seconds`, and longer while there is no turn for a new read."""

    def __init__(self, costly: CostlyReads, *, size: int, seconds: float, clock: Callable[[], float]) -> None:
        self._costly = costly
        self._seconds = seconds
        self._clock = clock
        # The time until which a result is new, and the result.
        self._results: LRUCache[KeyT, tuple[float, ValueT]] = LRUCache(size)

    async def get(self, key: KeyT, client: str, read: Callable[[], Awaitable[ValueT]]) -> ValueT:
        """Raises `ServiceUnavailable` if there is neither a result nor a turn to read it."""
        known = self._results.get(key)
        if known is not None and self._clock() < known[0]:
            return known[1]
        try:
            async with self._costly.turn(client):
                # Another request may have read it in the meantime.
                known = self._results.get(key)
                if known is None or self._clock() >= known[0]:
                    result = await read()
                    known = self._results[key] = (self._clock() + self._seconds, result)
        except ServiceUnavailable:
            if known is None:
                raise
        return known[1]
