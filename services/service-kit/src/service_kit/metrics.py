"""Metrics of every service, and the registry for `GET /metrics`."""

from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

# The `_created` series, one for each counter and histogram, which nothing uses.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the only function there without types

# From a cached read to a password hash under load.
_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def new_registry() -> CollectorRegistry:
    """A registry for one application, with metrics of the process: memory, CPU and garbage collection."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class HttpMetrics:
    """`http_requests_total` and `http_request_duration_seconds`, by method and route template."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "http_requests", "Requests, by method, route and status.", ["method", "route", "status"], registry=registry
        )
        self._duration = Histogram(
            "http_request_duration_seconds",
            "Time from the first byte of the request to the end of the response.",
            ["method", "route"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        # A look-up by labels costs more than the increment. The cache has as many entries as the metrics have series.
        self._requests_of = cache(lambda method, route, status: self._requests.labels(method, route, str(status)))
        self._duration_of = cache(self._duration.labels)

    def observe(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count a request. `seconds` is None if its duration is no latency."""
        self._requests_of(method, route, status).inc()
        if seconds is not None:
            self._duration_of(method, route).observe(seconds)


class BackgroundTaskMetrics:
    """`background_task_restarts_total`, by the task's name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.restarts = Counter(
            "background_task_restarts",
            "Restarts of a background task that ended unexpectedly.",
            ["task"],
            registry=registry,
        )

    def begin(self, task: str) -> None:
        """Create the series with 0, so that the first restart is an increase."""
        self.restarts.labels(task)
