"""The sync's Prometheus metrics, all of them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)


class SyncMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "sync_events",
            "Change events by what became of them: applied, skipped (older than the row), superseded (by a later "
            "one of the same batch), ignored (nothing in it to apply), dead-lettered.",
            ["route", "outcome"],
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
        self.epochs = Counter(
            "sync_new_epochs",
            "Changes of what orders events: another source server or binary log, or a topic made anew.",
            ["route"],
            registry=registry,
        )
        self.lag = Gauge(
            "sync_lag_events", "Events of the own partitions that are not applied yet.", ["route"], registry=registry
        )
