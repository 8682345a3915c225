"""All metrics of sync-service; service_kit adds those of HTTP."""

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from sync_service.debezium.envelope import Operation

_BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)
# The label of an event that can't be decoded, or that changes nothing.
NO_OPERATION = "-"


class SyncMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.events = Counter(
            "sync_events",
            "Change events by operation (c, u, d, r; - if unknown) and outcome: applied, skipped (older than the row), "
            "superseded (by a later event of the same batch), ignored (changes nothing), dead-lettered.",
            ["route", "operation", "outcome"],
            registry=registry,
        )
        self.latency = Histogram(
            "sync_latency_seconds",
            "Seconds from the commit in the source to the commit in the copy; streaming events only.",
            ["route"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.write = Histogram(
            "sync_write_seconds",
            "Seconds of one write to a copy.",
            ["route"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.batch = Histogram(
            "sync_write_rows", "Rows in one write to a copy.", ["route"], buckets=_BATCH_BUCKETS, registry=registry
        )
        self.retries = Counter(
            "sync_retries", "Writes that failed because a dependency did not answer.", ["route"], registry=registry
        )
        self.unknown_failures = Counter(
            "sync_unknown_failures",
            "Dead letters because of an unknown error of the store, which other rows did not get.",
            ["route"],
            registry=registry,
        )
        self.new_fields = Counter(
            "sync_new_fields",
            "Columns or fields that the route's source got while events were applied, and that are not copied.",
            ["route"],
            registry=registry,
        )
        self.unfit_fields = Gauge(
            "sync_unfit_fields",
            "Fields of the route whose type in the source has changed and no longer fits."
            " Events may become dead letters.",
            ["route"],
            registry=registry,
        )
        self.log_generations = Counter(
            "sync_new_epochs",
            "New log generations: another source server or binary log, or a topic that was created again.",
            ["route"],
            registry=registry,
        )
        self.lag = Gauge(
            "sync_lag_events",
            "Events of the assigned partitions that are not applied yet.",
            ["route"],
            registry=registry,
        )
        self.lag_seconds = Gauge(
            "sync_lag_seconds",
            "Age of the oldest event of the assigned partitions that is not applied yet; 0 if there is none.",
            ["route"],
            registry=registry,
        )
        self.rebalances = Counter("sync_rebalances", "Assignments of partitions to this process.", registry=registry)
        self.stalled_seconds = Gauge(
            "sync_stalled_seconds",
            "Longest time that an assigned partition with waiting events has made no progress; 0 if all make progress.",
            ["route"],
            registry=registry,
        )
        self.blocked = Gauge(
            "sync_blocked",
            "1 while the route waits for its topic or for a store; /readyz names the reason. Otherwise 0.",
            ["route"],
            registry=registry,
        )
        self.stopped = Gauge(
            "sync_stopped",
            "1 while a fault stops the route, until an operator resumes it; /readyz names the reason. Otherwise 0.",
            ["route"],
            registry=registry,
        )
        self.paused = Gauge(
            "sync_paused",
            "1 while an operator has paused the route: no event of it is applied until a resume. Otherwise 0.",
            ["route"],
            registry=registry,
        )
        self.gaps = Gauge(
            "sync_gaps",
            "Reasons why the route's copy may lack changes: missing events, or changes of the source without events. "
            "The copy is in doubt unless it is 0.",
            ["route"],
            registry=registry,
        )
        self._proven_rows = Gauge(
            "sync_proven_rows",
            "Rows of the route's source that the latest comparison of their range found equal in the copy.",
            ["route"],
            registry=registry,
        )
        self._proven_share = Gauge(
            "sync_proven_share", "The proven share of the route's rows, from 0 to 1.", ["route"], registry=registry
        )
        self._different_rows = Gauge(
            "sync_different_rows",
            "Rows that the latest comparison of their range found to differ from the route's source.",
            ["route"],
            registry=registry,
        )
        self._oldest_proof = Gauge(
            "sync_oldest_proof_seconds",
            "Age of the oldest of the latest comparisons of all ranges of the route; NaN until every range was "
            "compared once.",
            ["route"],
            registry=registry,
        )
        self._healthy = Gauge(
            "sync_healthy",
            "1 if the assigned partitions are applied; 0 if not, and /readyz names the reason.",
            registry=registry,
        )

    def proven(self, route: str, rows: int, different: int, share: float, age_seconds: float | None) -> None:
        self._proven_rows.labels(route).set(rows)
        self._different_rows.labels(route).set(different)
        self._proven_share.labels(route).set(share)
        self._oldest_proof.labels(route).set(math.nan if age_seconds is None else age_seconds)

    def observe_health(self, problem: Callable[[], str | None]) -> None:
        self._healthy.set_function(lambda: problem() is None)

    def begin(self, routes: Iterable[str]) -> None:
        """Create the series of these routes before the first event.

        Counters of dead letters start at 0. For Prometheus a counter that appears with 1 has not increased, and no
        alert would report the first dead letter.
        """
        for route in routes:
            self.retries.labels(route)
            self.unknown_failures.labels(route)
            self.new_fields.labels(route)
            self.unfit_fields.labels(route)
            self.stopped.labels(route)
            self.paused.labels(route)
            for operation in (*get_args(Operation), NO_OPERATION):
                self.events.labels(route, operation, "dead-lettered")

    def end(self, route: str) -> None:
        """Delete the series of a route that was removed."""
        for metric in vars(self).values():
            if isinstance(metric, MetricWrapperBase):
                # Those without this label.
                with suppress(ValueError):
                    metric.remove_by_labels({"route": route})


class FeedMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.clients = Gauge("sync_feed_clients", "Current subscribers of /v1/events.", registry=registry)
        self.dropped = Counter(
            "sync_feed_dropped", "Subscribers that were cut off because they read too slowly.", registry=registry
        )
