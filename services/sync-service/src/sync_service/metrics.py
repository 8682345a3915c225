"""sync-service's own metrics, all of them; those of HTTP are service_kit's."""

from collections.abc import Callable, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sync_service.debezium.envelope import Operation

_BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)
# Of an event that can't be read, or has nothing in it.
NO_OPERATION = "-"


class SyncMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.events = Counter(
            "sync_events",
            "Change events by operation (c, u, d, r; - if there is none to tell) and by what became of them: applied, "
            "skipped (older than the row), superseded (by a later one of the same batch), ignored (nothing in it to "
            "apply), dead-lettered.",
            ["route", "operation", "outcome"],
            registry=registry,
        )
        self.latency = Histogram(
            "sync_latency_seconds",
            "From the commit in the source to the commit in the copy; streaming events only.",
            ["route"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.write = Histogram(
            "sync_write_seconds", "Time of one write to a copy.", ["route"], buckets=_LATENCY_BUCKETS, registry=registry
        )
        self.batch = Histogram(
            "sync_write_rows", "Rows in one write to a copy.", ["route"], buckets=_BATCH_BUCKETS, registry=registry
        )
        self.retries = Counter(
            "sync_retries", "Writes that failed because a dependency did not answer.", ["route"], registry=registry
        )
        self.log_generations = Counter(
            "sync_new_epochs",
            "Changes of what orders events: another source server or binary log, or a topic that was created again.",
            ["route"],
            registry=registry,
        )
        self.lag = Gauge(
            "sync_lag_events", "Events of the own partitions that are not applied yet.", ["route"], registry=registry
        )
        self.lag_seconds = Gauge(
            "sync_lag_seconds",
            "How long the oldest event of the own partitions that is not applied yet has waited; 0 if none does.",
            ["route"],
            registry=registry,
        )
        self.rebalances = Counter(
            "sync_rebalances", "Times that partitions were assigned to this process.", registry=registry
        )
        self.stalled_seconds = Gauge(
            "sync_stalled_seconds",
            "How long the own partition that has stood longest has stood although events wait in it; 0 if none does.",
            ["route"],
            registry=registry,
        )
        self.blocked = Gauge(
            "sync_blocked",
            "1 while the route waits for its topic or for a store, which /readyz names; 0 otherwise.",
            ["route"],
            registry=registry,
        )
        self.gaps = Gauge(
            "sync_gaps",
            "Ranges of events that were deleted before they were read; the route's copy is in doubt unless it is 0.",
            ["route"],
            registry=registry,
        )
        self._healthy = Gauge(
            "sync_healthy", "1 if what is assigned is being applied, 0 if /readyz says why not.", registry=registry
        )

    def begin(self, routes: Sequence[str], problem: Callable[[], str | None]) -> None:
        """What can be told of these routes before anything has happened.

        Dead letters are there from the start, with 0: a counter that begins at 1 has not increased for Prometheus, and
        nobody would be told of the first one.
        """
        for route in routes:
            self.retries.labels(route)
            for operation in (*get_args(Operation), NO_OPERATION):
                self.events.labels(route, operation, "dead-lettered")
        self._healthy.set_function(lambda: problem() is None)


class FeedMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.clients = Gauge("sync_feed_clients", "Current subscribers of /v1/events.", registry=registry)
        self.dropped = Counter(
            "sync_feed_dropped", "Subscribers that were cut off because they read too slowly.", registry=registry
        )
