"""A queue whose order is by rank: clients with few recent attempts go first, and the others give way."""

import asyncio
import bisect
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


class QueueFull(Exception):  # noqa: N818 - a state, which the caller turns into its own problem
    """Too much waits that has a lower rank, or the same and came first."""


@dataclass(order=True)
class _Waiting:
    rank: int
    number: int
    admitted: asyncio.Future[None] = field(compare=False)


class RankedQueue:
    """Admits as many at a time as it has `places`: the lowest rank first, and of one rank the first to come.

    At most `waiting` wait. One more pushes out the last, which may be itself.
    """

    def __init__(self, places: int, *, waiting: int) -> None:
        self._places = places
        self._admitted = 0
        self._max_waiting = waiting
        # Sorted.
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """How many are admitted or wait."""
        return self._admitted + len(self._waiting)

    @asynccontextmanager
    async def place(self, rank: int) -> AsyncIterator[None]:
        """Wait for a place and hold it for the length of the block. Raises `QueueFull`."""
        await self._enter(rank)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, rank: int) -> None:
        if self._admitted < self._places:
            self._admitted += 1
            return
        waiting = _Waiting(rank, next(self._numbers), asyncio.get_running_loop().create_future())
        bisect.insort(self._waiting, waiting)
        if len(self._waiting) > self._max_waiting and not (last := self._waiting.pop().admitted).done():
            last.set_exception(QueueFull)
        try:
            await waiting.admitted
        except asyncio.CancelledError:
            if waiting.admitted.cancelled():
                # Another may have taken it out in the same moment.
                with contextlib.suppress(ValueError):
                    self._waiting.remove(waiting)
            elif waiting.admitted.exception() is None:
                # It was admitted in the same moment.
                self._leave()
            raise

    def _leave(self) -> None:
        """Give the place to the first that waits and was not cancelled in the same moment."""
        while self._waiting:
            if not (first := self._waiting.pop(0).admitted).done():
                first.set_result(None)
                return
        self._admitted -= 1


class FairQueue:
    """Admits as many operations at a time as it has `places`: of those that wait, the clients with the fewest go first.

    At most `waiting` wait. A client is anything with a name, such as a network or a session.
    """

    def __init__(self, places: int, *, waiting: int) -> None:
        self._queue = RankedQueue(places, waiting=waiting)
        self._operations: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many operations are admitted or wait."""
        return self._operations.total()

    @asynccontextmanager
    async def place(self, client: str) -> AsyncIterator[None]:
        """Wait for a place and hold it for the length of the block. Raises `QueueFull`."""
        rank = self._operations[client]
        self._operations[client] += 1
        try:
            async with self._queue.place(rank):
                yield
        finally:
            self._operations[client] -= 1
            if not self._operations[client]:
                del self._operations[client]
