"""How late the event loop is: what blocks it keeps every request of the process waiting."""

import asyncio

from prometheus_client import CollectorRegistry, Histogram

LOOK_SECONDS = 0.25
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class EventLoopMetrics:
    """A histogram and no gauge: between two scrapes a gauge would forget the worst."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lag = Histogram(
            "event_loop_lag_seconds",
            "How late the event loop ran a timer, of four in a second.",
            buckets=_BUCKETS,
            registry=registry,
        )

    async def watch(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            self._lag.observe(max(0.0, loop.time() - due))
