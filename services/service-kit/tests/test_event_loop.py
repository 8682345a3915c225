"""The lag of a blocked event loop is measured."""

import asyncio
import time

from prometheus_client import CollectorRegistry

from service_kit.background import Supervisor
from service_kit.event_loop import INTERVAL_SECONDS, EventLoopMetrics
from support.polling import eventually


async def test_blocked_event_loop_has_a_lag() -> None:
    registry = CollectorRegistry()

    async def looks_later_than(bound: str) -> float:
        def sample(name: str, labels: dict[str, str] | None = None) -> float:
            return registry.get_sample_value(f"event_loop_lag_seconds_{name}", labels) or 0.0

        return sample("count") - sample("bucket", {"le": bound})

    async with Supervisor(registry).task("event-loop-lag", EventLoopMetrics(registry).watch):
        await asyncio.sleep(0)
        # Longer than until the next look, by more than the bucket's bound.
        time.sleep(INTERVAL_SECONDS + 0.6)  # noqa: ASYNC251 - which is what it is to measure
        await eventually(lambda: looks_later_than("0.5"))
