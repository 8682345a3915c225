"""A Prometheus that watches the tests' system, on which everything has happened."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from embedded_stack import Stack
from observability.prometheus import JOBS, Prometheus, running_prometheus
from observability.traffic import clear_up, make_traffic
from support.polling import eventually


@pytest.fixture(scope="package")
def prometheus_url(running_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("prometheus")
    with running_prometheus(running_stack, folder) as url:
        yield url


@pytest.fixture(scope="package")
async def prometheus(running_stack: Stack, prometheus_url: str) -> AsyncIterator[Prometheus]:
    """It has seen all of the traffic that there is to see."""
    async with httpx.AsyncClient(base_url=prometheus_url, timeout=20) as http:
        prometheus = Prometheus(http)

        async def answers() -> bool:
            try:
                return (await http.get("/-/ready")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(answers)
        await eventually(lambda: prometheus.query("up == 1"), lambda up: {each.labels["job"] for each in up} == {*JOBS})
        # Twice, with a look between: nothing can be told of how fast a counter rises that is there once.
        await make_traffic(running_stack)
        await eventually(lambda: prometheus.query('sum(sync_events_total{outcome="dead-lettered"}) > 0'))
        await make_traffic(running_stack)
        yield prometheus
        await clear_up(running_stack)
