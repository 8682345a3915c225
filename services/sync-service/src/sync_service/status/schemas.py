"""Wire shapes of `/v1/status`."""

from pydantic import Field

from service_kit.wire import ResponseBody, UtcDatetime


class Latency(ResponseBody):
    """From commit to commit, in milliseconds, over the latest 1000 streaming events; null before the first."""

    p50: float | None
    p95: float | None
    p99: float | None


class RouteStatus(ResponseBody):
    """Counts are of this process, since it began; `lag` is of the partitions that it has been assigned."""

    name: str = Field(examples=["tweets"])
    topic: str = Field(examples=["cdc.mongo.tweets.tweets"])
    target: str = Field(examples=["mysql tweets"])
    lag: int | None = Field(description="Events not applied yet; null while the broker does not answer.")
    applied: int
    skipped: int = Field(description="Older than what the copy has: redelivered or replayed.")
    superseded: int = Field(description="Followed, in the same batch, by a later event of the same row.")
    ignored: int = Field(description="Nothing to apply in them.")
    dead_lettered: int
    rate_per_second: float = Field(description="Over the last minute.")
    latency_ms: Latency
    last_event_at: UtcDatetime | None
    blocked_by: str | None = Field(description="The dependency that is waited for; `/v1/pipeline` has its answer.")


class Status(ResponseBody):
    problem: str | None = Field(
        description="Why nothing, or not everything, is applied at the moment, in a word; `/v1/pipeline` has more."
    )
    group_id: str
    assigned_partitions: int
    routes: list[RouteStatus]
