"""tweet-service's own metrics, all of them; those of HTTP are service_kit's."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class StreamMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.clients = Gauge("tweet_stream_clients", "Listeners of /v1/stream at the moment.", registry=registry)
        self.events = Counter(
            "tweet_stream_events",
            "Events that the change stream brought, however many got them.",
            ["event"],
            registry=registry,
        )
        self.dropped = Counter(
            "tweet_stream_dropped", "Listeners who were dropped because they read too slowly.", registry=registry
        )
        self.resumed = Counter(
            "tweet_stream_resumed",
            "Listeners who went on behind an event: from the backlog in memory, or from MongoDB's log.",
            ["source"],
            registry=registry,
        )
        self.interruptions = Counter(
            "tweet_stream_interruptions", "How often the change stream had to be opened again.", registry=registry
        )
