"""The lag of the event loop: code that blocks it delays every request of the process."""

import asyncio

from prometheus_client import CollectorRegistry, Histogram

INTERVAL_SECONDS = 0.25
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class EventLoopMetrics:
    """A histogram, because a gauge would lose the largest lag between two scrapes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lag = Histogram(
            "event_loop_lag_seconds",
            "Delay of a timer of the event loop, measured four times a second.",
            buckets=_BUCKETS,
            registry=registry,
        )

    async def watch(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL_SECONDS
            await asyncio.sleep(INTERVAL_SECONDS)
            self._lag.observe(max(0.0, loop.time() - due))
