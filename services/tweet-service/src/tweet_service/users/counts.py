"""Counts whose cost the caller chooses: a profile may have a million followers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from service_kit.problems import ServiceUnavailable
from tweet_service.limits.costly import CostlyCache, CostlyReads

# Up to here a count is exact at every read.
EXACT = 1000
LARGE_COUNT_SECONDS = 30
_CACHED = 10_000


class Counted(Protocol):
    """Counts, at most `limit` if that is not None."""

    def __call__(self, limit: int | None) -> Awaitable[int]: ...


class LargeCounts:
    def __init__(self, costly: CostlyReads, clock: Callable[[], float]) -> None:
        self._known: CostlyCache[tuple[str, ...], dict[str, int]] = CostlyCache(
            costly, size=_CACHED, seconds=LARGE_COUNT_SECONDS, clock=clock
        )

    async def get(self, user_id: str, client: str, counts: Mapping[str, Counted]) -> dict[str, int]:
        """The counts of a user by name.

        Those of `EXACT` or more may be `LARGE_COUNT_SECONDS` old. While there is no turn to count them, they are older,
        or `EXACT` if they are unknown: a profile is shown all the same.
        """
        few = await _all(counts, EXACT)
        large = {name: count for name, count in counts.items() if few[name] >= EXACT}
        if not large:
            return few
        try:
            # In one turn, because the profile needs all of them.
            known = await self._known.get((user_id, *large), client, lambda: _all(large, None))
        except ServiceUnavailable:
            return few
        return {name: max(number, known.get(name, 0)) for name, number in few.items()}


async def _all(counts: Mapping[str, Counted], limit: int | None) -> dict[str, int]:
    numbers = await asyncio.gather(*(count(limit) for count in counts.values()))
    return dict(zip(counts, numbers, strict=True))
