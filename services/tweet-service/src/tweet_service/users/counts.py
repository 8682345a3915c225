"""Counts whose cost the caller chooses: a profile may have a million followers."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from cachetools import TTLCache

from tweet_service.limits.costly import CostlyReads

# Up to here a count is exact at every read.
EXACT = 1000
LARGE_COUNT_SECONDS = 30
_CACHED = 10_000


class Counted(Protocol):
    """Counts, at most `limit` if that is not None."""

    def __call__(self, limit: int | None) -> Awaitable[int]: ...


class LargeCounts:
    def __init__(self, costly: CostlyReads, clock: Callable[[], float]) -> None:
        self._costly = costly
        self._known: TTLCache[tuple[str, str], int] = TTLCache(_CACHED, LARGE_COUNT_SECONDS, timer=clock)

    async def get(self, key: tuple[str, str], count: Counted) -> int:
        """A count of `EXACT` or more may be `LARGE_COUNT_SECONDS` old. Raises `ServiceUnavailable`."""
        few = await count(EXACT)
        if few < EXACT:
            return few
        if key not in self._known:
            async with self._costly.turn():
                if key not in self._known:
                    self._known[key] = await count(None)
        return max(few, self._known.get(key, few))
