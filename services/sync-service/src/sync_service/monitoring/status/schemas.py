"""Wire shapes of `/v1/status`."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from service_kit.schemas import ResponseBody, UtcDatetime
from sync_service.kafka import gaps
from sync_service.proof.store import Proof
from sync_service.routes.schemas import RouteState, RouteStops


class Latency(ResponseBody):
    """Milliseconds from commit to commit over the latest 1000 streaming events; null before the first."""

    p50: float | None
    p95: float | None
    p99: float | None


class Gap(ResponseBody):
    """Changes of the source that the copy may lack. `partition` and offsets are null if no events describe them."""

    cause: gaps.Cause = Field(
        description="lost-events: the broker has deleted or lost them. skipped: by an operator. lost-copy: the copy "
        "was created empty. gone: the table does not exist. truncated, dropped, renamed, replaced, altered: a "
        "statement changed rows without an event for each. unlogged: a session of MySQL wrote no events, or not whole "
        "ones. unwatched: it is not known which statements there were.",
        examples=["lost-events"],
    )
    partition: int | None = Field(examples=[0])
    first_offset: int | None = Field(description="The offset of the first missing event.", examples=[1024])
    end_offset: int | None = Field(
        description="The offset of the first event after the gap; null if unknown, too.", examples=[4711]
    )
    reason: str = Field(examples=["they were deleted before they were read"])
    found_at: UtcDatetime


def as_gaps(found: Iterable[gaps.KnownGap], *, with_details: bool = True) -> list[Gap]:
    """The reason of a skip names the account of the operator, which is a detail."""
    return [
        Gap(
            cause=gap.cause,
            partition=None if gap.is_of_source else gap.partition,
            first_offset=None if gap.is_of_source else gap.first,
            end_offset=gap.end,
            reason=gap.reason if with_details or gap.cause != "skipped" else "skipped by an operator",
            found_at=gap.found_at,
        )
        for gap in found
    ]


# The reasons why a route's copy is in doubt.
Gaps = Annotated[
    list[Gap],
    Field(
        description="Changes that the copy may lack. The copy is in doubt until a comparison finds it equal to its "
        "source or repairs it (`POST /v1/reconcile` with `repair`). Empty if none is missing."
    ),
]


class RouteProof(ResponseBody):
    """What the comparisons that run all the time have proven (`SYNC_PROOF_SHARE`).

    Each range of keys was compared at a time of its own; `oldest_at` is the first of these times.
    """

    rows: int = Field(description="Rows of the source that are equal in the copy.", examples=[1_204_331])
    different: int = Field(description="Rows that differ, are missing, or are too many.", examples=[0])
    share: float = Field(description="The proven share of the rows, from 0 to 1.", examples=[1.0])
    oldest_at: UtcDatetime | None = Field(description="Null until every row was compared once.")
    problem: str | None = Field(
        description="Why no rows are compared at the moment; null if they are.", examples=["1,200 events wait"]
    )


def as_proof(found: Proof | None, *, with_details: bool = True) -> RouteProof | None:
    """The details of `problem` may name accounts and addresses."""
    if found is None:
        return None
    problem = found.problem if with_details else found.problem and "rows can't be compared at the moment"
    return RouteProof(
        rows=found.rows, different=found.different, share=found.share, oldest_at=found.oldest_at, problem=problem
    )


ProofOfRoute = Annotated[
    RouteProof | None, Field(description="Null until the first comparison, and if comparisons are off.")
]


class RouteStatus(ResponseBody):
    """Counts are of this process since its start; `lag` is that of its assigned partitions."""

    name: str = Field(examples=["tweets"])
    topic: str = Field(examples=["cdc.mongo.tweets.tweets"])
    target: str = Field(examples=["mysql tweets"])
    state: RouteState = Field(description="The worst that applies. `stopped`: no event is applied until a resume.")
    lag: int | None = Field(
        description="Events not applied yet; those of the last second may be missing. Null while the broker does not "
        "answer or no partition is assigned."
    )
    applied: int
    skipped: int = Field(description="Events that are older than the row in the copy: redelivered or replayed.")
    superseded: int = Field(description="Events that are followed by a later event of the same row in the same batch.")
    ignored: int = Field(description="Events that make no change.")
    dead_lettered: int
    rate_per_second: float = Field(description="Over the last minute.")
    latency_ms: Latency
    last_event_at: UtcDatetime | None
    new_fields: int = Field(
        description="How many columns or fields the source got since the start of this process that are not copied "
        "(`on_new_field`); at most 100. The log has their names."
    )
    unfit_fields: int = Field(
        description="How many copied fields have a type in the source that has changed and no longer fits the route; "
        "the log has their names. Events with them may become dead letters."
    )
    blocked_by: str | None = Field(description="The dependency that the route waits for; `/v1/pipeline` has its error.")
    gaps: Gaps
    stops: RouteStops
    proof: ProofOfRoute


class Status(ResponseBody):
    problem: str | None = Field(
        description="Why nothing, or not everything, is applied at the moment, in short; `/v1/pipeline` has details."
    )
    group_id: str
    assigned_partitions: int
    routes_version: str | None = Field(
        description="Of the routes file in force: the beginning of its SHA-256. Null for a second after the start.",
        examples=["9f86d081884c"],
    )
    refused_routes_version: str | None = Field(
        description="Of the routes file as it is now, if it is wrong and therefore not in force; `/readyz` has the "
        "reason. Otherwise null."
    )
    routes: list[RouteStatus]
