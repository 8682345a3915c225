"""Wire shapes of `/v1/pipeline`. What could not be asked is null, with the reason beside it."""

from typing import Annotated, Literal

from pydantic import Field

from service_kit.schemas import ResponseBody, UtcDatetime
from sync_service.monitoring.status.schemas import Gaps
from sync_service.sinks.targets import Store

Reason = Annotated[
    str | None,
    Field(description="Why it is not known; null if it is.", examples=["no answer within 2 s"]),
]
RouteState = Literal["up to date", "catching up", "in doubt", "blocked", "unknown"]
Count = Annotated[int, Field(ge=0, examples=[3])]


class Connector(ResponseBody):
    """As the registrar saw it last."""

    name: str = Field(examples=["mysql-users"])
    topic_prefix: str = Field(examples=["cdc.mysql"])
    problem: str | None = Field(description="Why it can't be relied on; null if all is well.", examples=[None])
    state: str | None = Field(
        description="Kafka Connect's word; null if it does not know the connector or does not answer.",
        examples=["RUNNING"],
    )
    task_states: list[str] = Field(examples=[["RUNNING"]])
    failure: str | None = Field(
        description="What connector or task failed of.",
        examples=["org.apache.kafka.connect.errors.ConnectException: Access denied for user 'debezium'"],
    )
    repairs: Count = Field(description="How often the registrar has put or restarted it since it began.")
    heartbeat_age_seconds: float | None = Field(examples=[0.8])


class Connectors(ResponseBody):
    items: list[Connector] | None
    reason: Reason


class StoreState(ResponseBody):
    name: Store
    answers: bool
    milliseconds: float | None = Field(description="In which it has answered.", examples=[1.4])
    reason: Reason


class Partition(ResponseBody):
    """Offsets. `committed` is that of the next event to be applied; null if none has been yet."""

    partition: int = Field(examples=[0])
    begin: Count
    end: Count
    committed: int | None = Field(examples=[3])
    lag: Count


class Topic(ResponseBody):
    """Of the topic of a route. Without partitions, the broker has no such topic."""

    name: str = Field(examples=["cdc.mongo.tweets.tweets"])
    events: Count = Field(description="That are kept: ends less beginnings.")
    partitions: list[Partition]


class Broker(ResponseBody):
    topics: list[Topic] | None
    group_id: str = Field(examples=["sync-service"])
    members: int | None = Field(description="Processes that share the partitions.", examples=[1])
    reason: Reason


class PipelineRoute(ResponseBody):
    """The way of one kind of rows. `lag` is the whole group's; `blocked_by` is of the process that answers."""

    name: str = Field(examples=["tweets"])
    source: Store
    source_name: str | None = Field(
        description="By the last two segments of its topic; null if there are fewer.", examples=["tweets.tweets"]
    )
    connector: str | None = Field(
        description="The one whose topics' prefix it has; null if there is none, or none is known.",
        examples=["mongodb-tweets"],
    )
    topic: str = Field(examples=["cdc.mongo.tweets.tweets"])
    target: Store
    target_name: str = Field(examples=["tweets"])
    lag: int | None = Field(description="Events not applied yet; null while the broker does not answer.", examples=[0])
    done: int | None = Field(
        description="Events that the group is done with, ever: two looks at it make a rate.", examples=[4711]
    )
    open_dead_letters: int | None = Field(examples=[0])
    blocked_by: str | None = Field(
        description="The dependency's answer that is being waited out.", examples=["MySQL: 2003: can't connect"]
    )
    gaps: Gaps
    state: RouteState = Field(
        description="In doubt: it goes on, but events were deleted before they were read (`gaps`). "
        "`POST /v1/reconcile` with `repair` makes the copy equal to its source again, and ends the doubt."
    )


class PipelineState(ResponseBody):
    observed_at: UtcDatetime
    problem: str | None = Field(
        description="Why the process that answers applies nothing, or not everything.", examples=[None]
    )
    stores: list[StoreState]
    connectors: Connectors
    broker: Broker
    routes: list[PipelineRoute]
    dead_letters_reason: Reason = Field(description="Why the open dead letters are not counted.")
