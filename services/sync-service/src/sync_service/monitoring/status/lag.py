"""The lag for callers who ask often."""

from collections.abc import Callable

from sync_service.kafka.lag import LagReader
from sync_service.monitoring.cache import SingleFlightCache

ENDS_SECONDS = 1.0


class CachedLag:
    """Asks Kafka for the ends of the partitions once a second at most, however many callers there are.

    What is applied is known without Kafka, so the lag falls without delay, and new events are counted a second late.
    `lag` returns the current reader.
    """

    def __init__(self, lag: Callable[[], LagReader]) -> None:
        self._lag = lag
        self._ends = SingleFlightCache(lambda: lag().ends(), seconds=ENDS_SECONDS)

    async def by_topic(self) -> dict[str, int]:
        """As `LagReader.by_topic`. Raises `KafkaError`."""
        ends = await self._ends.get()
        if not self._lag().has_all(ends):
            # Partitions were assigned or placed since.
            self._ends.expire()
            ends = await self._ends.get()
        return self._lag().lag_to(ends)

    async def close(self) -> None:
        await self._ends.close()
