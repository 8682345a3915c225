"""A cache of one expensive value: one request at a time, and its result is shared for a short time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from service_kit.background import stray_cancellations

ValueT = TypeVar("ValueT")


class SingleFlightCache(Generic[ValueT]):
    """Caches the result of `ask`. Concurrent callers share one call.

    A result is kept for `seconds`, or longer, so that calls take at most this `share` of the time. An error is raised
    to all waiting callers and is not cached. `clock` returns seconds.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[ValueT]],
        *,
        seconds: float,
        share: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._share = share
        self._clock = clock
        self._call: asyncio.Task[ValueT] | None = None
        self._valid_until = float("-inf")

    async def get(self) -> ValueT:
        """Raises the error of `ask`, or `TaskEnded` if `ask` was cancelled.

        A caller that is cancelled does not cancel the call of the others.
        """
        if self._call is None or (self._call.done() and self._clock() >= self._valid_until):
            self._call = asyncio.create_task(self._timed())
        with stray_cancellations():
            return await asyncio.shield(self._call)

    def expire(self) -> None:
        """The next caller gets a new result, or that of a call under way."""
        self._valid_until = float("-inf")

    async def close(self) -> None:
        if self._call is not None:
            self._call.cancel()
            await asyncio.gather(self._call, return_exceptions=True)

    async def _timed(self) -> ValueT:
        begun = self._clock()
        answer = await self._ask()
        ended = self._clock()
        self._valid_until = ended + max(self._seconds, (ended - begun) * (1 / self._share - 1))
        return answer
