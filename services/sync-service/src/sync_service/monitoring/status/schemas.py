"""Wire shapes of `/v1/status`."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from service_kit.schemas import ResponseBody, UtcDatetime
from sync_service.kafka import gaps


class Latency(ResponseBody):
    """From commit to commit, in milliseconds, over the latest 1000 streaming events; null before the first."""

    p50: float | None
    p95: float | None
    p99: float | None


class Gap(ResponseBody):
    """Events that were deleted before they were read."""

    partition: int = Field(examples=[0])
    first_offset: int = Field(description="Of the first event that is missing.", examples=[1024])
    end_offset: int | None = Field(description="Of the first event after the gap; null if unknown.", examples=[4711])
    reason: str = Field(examples=["they were deleted before they were read"])
    found_at: UtcDatetime


def as_gaps(found: Iterable[gaps.KnownGap]) -> list[Gap]:
    return [
        Gap(
            partition=gap.partition,
            first_offset=gap.first,
            end_offset=gap.end,
            reason=gap.reason,
            found_at=gap.found_at,
        )
        for gap in found
    ]


# Why a route's copy is in doubt.
Gaps = Annotated[
    list[Gap],
    Field(
        description="Events that the copy may lack: it is in doubt until a comparison found it equal to its source, or "
        "made it so. Empty if all is known."
    ),
]


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
    gaps: Gaps


class Status(ResponseBody):
    problem: str | None = Field(
        description="Why nothing, or not everything, is applied at the moment, in a word; `/v1/pipeline` has more."
    )
    group_id: str
    assigned_partitions: int
    routes: list[RouteStatus]
