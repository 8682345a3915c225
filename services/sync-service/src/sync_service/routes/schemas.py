"""Wire shapes of `/v1/routes`, and of the stops of a route."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from service_kit.schemas import RequestBody, ResponseBody, UtcDatetime
from sync_service.apply.stops import StopCause
from sync_service.kafka.stops import Stop

RouteState = Literal["up to date", "catching up", "differs", "in doubt", "blocked", "paused", "stopped", "unknown"]

# Kafka's own limit, and the one up to which a number of JSON is exact (RFC 8259 §6).
_MOST_PARTITIONS, _LARGEST_OFFSET = 2**31 - 1, 2**53 - 1
_MOST_AT_ONCE = 1000


def whole(value: Any) -> Any:
    """In JSON, 20.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class RouteStop(ResponseBody):
    """Why a route is stopped. `partition` and `next_offset` name the event; they are null if the whole route failed."""

    cause: StopCause = Field(
        description="not-prepared: the copy can't be created or does not fit. refused: the store refuses all rows. "
        "no-keys: the events have no keys. too-many-dead-letters: a restart does not try again, a resume does. "
        "paused: by an operator, until a resume.",
        examples=["too-many-dead-letters"],
    )
    reason: str = Field(examples=["too many dead letters"])
    partition: int | None = Field(examples=[0])
    next_offset: int | None = Field(description="The offset of the event that can't be applied.", examples=[4711])
    stopped_at: UtcDatetime


def as_stops(stops: Iterable[Stop], *, with_details: bool = True) -> list[RouteStop]:
    """`reason` without details ends at its colon: details may name accounts and addresses."""
    return [
        RouteStop(
            cause=stop.cause,
            reason=stop.reason if with_details else stop.reason.partition(":")[0],
            partition=stop.partition,
            next_offset=stop.next_offset,
            stopped_at=stop.stopped_at,
        )
        for stop in stops
    ]


# Why a route is stopped.
RouteStops = Annotated[
    list[RouteStop],
    Field(
        description="Why the route is stopped or paused; empty if it is not. "
        "`POST /v1/routes/{name}/resume` starts it again after the cause is corrected."
    ),
]


class PartitionOffset(RequestBody):
    partition: Annotated[int, Field(ge=0, le=_MOST_PARTITIONS, examples=[0]), BeforeValidator(whole)]
    offset: Annotated[int, Field(ge=1, le=_LARGEST_OFFSET, examples=[4712]), BeforeValidator(whole)]


Offsets = Annotated[list[PartitionOffset], Field(max_length=_MOST_AT_ONCE, fail_fast=True)]


class ResumeRequest(RequestBody):
    """Without a body, or with an empty one, the route continues with the event at which it stopped."""

    skip_to: Offsets = Field(
        default=[],
        description="Continue at these offsets. The events before them are skipped, without dead letters: the copy is "
        "in doubt until a comparison.",
    )
    discard_to: Offsets = Field(
        default=[],
        description="Discard the events before these offsets: each becomes a dead letter that is already discarded.",
    )

    @model_validator(mode="after")
    def _each_partition_once(self) -> Self:
        partitions = [each.partition for each in (*self.skip_to, *self.discard_to)]
        if len(partitions) != len(set(partitions)):
            raise ValueError("name each partition once")
        return self


class ResumedRoute(ResponseBody):
    """`stops` are the ended ones. Each process of the service continues within a few seconds."""

    name: str = Field(examples=["tweets"])
    stops: list[RouteStop]


class PausedRoute(ResponseBody):
    """No process of the service applies an event of the route before a resume."""

    name: str = Field(examples=["tweets"])
    stops: list[RouteStop]


class ReloadedRoutes(ResponseBody):
    """The names of the routes in force, and of those that this call has added, changed and removed."""

    version: str = Field(
        description="Equal for processes with the same file; see `routes_version` of `/v1/status`.",
        examples=["9f86d081884c"],
    )
    routes: list[str] = Field(examples=[["users", "tweets"]])
    added: list[str] = Field(examples=[["tweets"]])
    changed: list[str] = Field(examples=[[]])
    removed: list[str] = Field(examples=[[]])


def route_state(
    lag: int | None,
    blocked_by: str | None,
    *,
    is_in_doubt: bool = False,
    differs: bool = False,
    stops: Sequence[Stop] = (),
) -> RouteState:
    """`lag` is None while the broker does not answer, or if the topic does not exist."""
    if stops:
        return "paused" if all(stop.is_pause for stop in stops) else "stopped"
    if blocked_by is not None:
        return "blocked"
    if lag is None:
        return "unknown"
    if is_in_doubt:
        return "in doubt"
    if differs:
        return "differs"
    return "catching up" if lag else "up to date"
