"""Metrics that every service has, and the registry behind `GET /metrics`."""

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

# A second series for each counter and histogram, of which nothing makes use.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the only function there without types

# From a cached read to a password hash under load.
_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def new_registry() -> CollectorRegistry:
    """A registry of its own for each application, with the process's memory, CPU and garbage collection."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class HttpMetrics:
    """`http_requests_total` and `http_request_duration_seconds`, by method and route template."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "http_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._duration = Histogram(
            "http_request_duration_seconds",
            "Time from the request's first byte to the end of its answer.",
            ["method", "route"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        # Looking up a child by its labels costs more than counting does. There are as many as the metrics keep anyway.
        self._requests_of = cache(lambda method, route, status: self._requests.labels(method, route, str(status)))
        self._duration_of = cache(self._duration.labels)

    def observe(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """`seconds` is None if the time says nothing."""
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
        """Have it counted from 0 on, so that the first restart is an increase."""
        self.restarts.labels(task)
