"""All metrics of tweet-service, except those that service_kit has for every service."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class StreamMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.clients = Gauge("tweet_stream_clients", "Current subscribers of /v1/stream.", registry=registry)
        self.events = Counter(
            "tweet_stream_events",
            "Events of the change stream, independent of the number of subscribers.",
            ["event"],
            registry=registry,
        )
        self.dropped = Counter(
            "tweet_stream_dropped", "Subscribers that were cut off because they read too slowly.", registry=registry
        )
        self.resumed = Counter(
            "tweet_stream_resumed",
            "Subscribers that resumed: from the buffer in memory (backlog), or from MongoDB's log.",
            ["source"],
            registry=registry,
        )
        self.interruptions = Counter(
            "tweet_stream_interruptions",
            "Interruptions of the change stream.",
            registry=registry,
        )
