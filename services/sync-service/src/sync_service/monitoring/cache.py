"""Answers that many want and that cost something: asked for once, and kept for a moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from service_kit.background import stray_cancellations

ValueT = TypeVar("ValueT")


class SingleFlightCache(Generic[ValueT]):
    """What `ask` has answered lately. It is asked by one at a time, and whoever comes meanwhile shares the answer.

    An answer is good for `seconds`, and for longer if to ask took so long that it would take more than this `share` of
    the time. A failure is raised to all who waited for it, and forgotten. `clock` gives seconds.
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
        self._asking: asyncio.Task[ValueT] | None = None
        self._good_until = float("-inf")

    async def get(self) -> ValueT:
        """Raises what `ask` raises, or `TaskEnded` if `ask` was cancelled.

        Whoever gives up waiting leaves the others waiting.
        """
        if self._asking is None or (self._asking.done() and self._clock() >= self._good_until):
            self._asking = asyncio.create_task(self._timed())
        with stray_cancellations():
            return await asyncio.shield(self._asking)

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _timed(self) -> ValueT:
        begun = self._clock()
        answer = await self._ask()
        ended = self._clock()
        self._good_until = ended + max(self._seconds, (ended - begun) * (1 / self._share - 1))
        return answer
