"""A Prometheus that scrapes the tests' system, on which traffic of every kind has happened."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from embedded_stack import Stack
from observability.prometheus import JOBS, Prometheus, running_prometheus
from observability.traffic import discard_dead_letters, make_traffic
from support.polling import eventually


@pytest.fixture(scope="package")
def prometheus_url(running_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("prometheus")
    with running_prometheus(running_stack, folder) as url:
        yield url


@pytest.fixture(scope="package")
async def prometheus(running_stack: Stack, prometheus_url: str) -> AsyncIterator[Prometheus]:
    """It has scraped traffic of every kind."""
    async with httpx.AsyncClient(base_url=prometheus_url, timeout=60) as http:
        prometheus = Prometheus(http)

        await eventually(lambda: http.get("/-/ready"), lambda answer: answer.status_code == 200)
        await eventually(lambda: prometheus.query("up == 1"), lambda up: {each.labels["job"] for each in up} == {*JOBS})
        # Twice, with a scrape between: a rate needs two samples.
        try:
            await make_traffic(running_stack)
            await eventually(lambda: prometheus.query('sum(sync_events_total{outcome="dead-lettered"}) > 0'))
            await make_traffic(running_stack)
            yield prometheus
        finally:
            await discard_dead_letters(running_stack)
