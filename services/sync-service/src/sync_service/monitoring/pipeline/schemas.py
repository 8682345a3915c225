"""Wire shapes of `/v1/pipeline`. The state of a part that does not answer is null, with the reason beside it."""

from typing import Annotated

from pydantic import Field

from service_kit.schemas import ResponseBody, UtcDatetime
from sync_service.monitoring.status.schemas import Gaps, ProofOfRoute
from sync_service.routes.schemas import RouteState, RouteStops
from sync_service.sinks.targets import Store

Reason = Annotated[
    str | None,
    Field(description="Why the state is unknown; null if it is known.", examples=["no answer within 2 s"]),
]
Count = Annotated[int, Field(ge=0, examples=[3])]


class Connector(ResponseBody):
    """The latest state that the registrar has seen."""

    name: str = Field(examples=["mysql-users"])
    topic_prefix: str = Field(examples=["cdc.mysql"])
    problem: str | None = Field(description="Why the connector does not work; null if it works.", examples=[None])
    source_problem: str | None = Field(
        default=None,
        description="The settings of its database that endanger the order of changes; null if none, or unknown.",
        examples=[None],
    )
    state: str | None = Field(
        description="The state in Kafka Connect; null if it does not know the connector or does not answer.",
        examples=["RUNNING"],
    )
    task_states: list[str] = Field(examples=[["RUNNING"]])
    failure: str | None = Field(
        description="The error of the connector or of a task.",
        examples=["org.apache.kafka.connect.errors.ConnectException: Access denied for user 'debezium'"],
    )
    repairs: Count = Field(description="How often the registrar has configured or restarted it since its start.")
    heartbeat_age_seconds: float | None = Field(examples=[0.8])
    activity_age_seconds: float | None = Field(
        default=None, description="The age of the newest heartbeat or event.", examples=[0.3]
    )
    rows_awaited: list[str] = Field(
        default=[],
        description="The tables with rows that are not in Kafka yet, because a snapshot has to copy them.",
        examples=[["shop.products"]],
    )


class Connectors(ResponseBody):
    items: list[Connector] | None
    reason: Reason


class StoreState(ResponseBody):
    name: Store
    answers: bool
    milliseconds: float | None = Field(description="The time that the store took to answer.", examples=[1.4])
    reason: Reason


class Partition(ResponseBody):
    """Offsets. `committed` is the offset of the next event to apply; null before the first one is applied."""

    partition: int = Field(examples=[0])
    begin: Count
    end: Count
    committed: int | None = Field(examples=[3])
    lag: Count


class Topic(ResponseBody):
    """The topic of a route. A topic without partitions does not exist."""

    name: str = Field(examples=["cdc.mongo.tweets.tweets"])
    events: Count = Field(description="The number of events in the topic: ends minus beginnings.")
    partitions: list[Partition]


class Broker(ResponseBody):
    topics: list[Topic] | None
    group_id: str = Field(examples=["sync-service"])
    members: int | None = Field(description="The number of processes that share the partitions.", examples=[1])
    reason: Reason


class PipelineRoute(ResponseBody):
    """`lag` is that of the whole consumer group; `blocked_by` is of the process that answers."""

    name: str = Field(examples=["tweets"])
    source: Store
    source_name: str | None = Field(
        description="The last two segments of the topic; null if there are fewer.", examples=["tweets.tweets"]
    )
    connector: str | None = Field(
        description="The connector that writes the topic, by its topic prefix; null if unknown.",
        examples=["mongodb-tweets"],
    )
    topic: str = Field(examples=["cdc.mongo.tweets.tweets"])
    target: Store
    target_name: str = Field(examples=["tweets"])
    lag: int | None = Field(description="Events not applied yet; null while the broker does not answer.", examples=[0])
    done: int | None = Field(
        description="The number of events that the group has applied in all. Two readings give a rate.", examples=[4711]
    )
    open_dead_letters: int | None = Field(examples=[0])
    blocked_by: str | None = Field(
        description="The error of the dependency that the route waits for.", examples=["MySQL: 2003: can't connect"]
    )
    gaps: Gaps
    stops: RouteStops
    proof: ProofOfRoute
    state: RouteState = Field(
        description="stopped: no event is applied (`stops`) until `POST /v1/routes/{name}/resume`. in doubt: events "
        "are applied, but some are missing, or the source changed without events (`gaps`). "
        "differs: a comparison has found rows that differ from the source (`proof`). "
        "`POST /v1/reconcile` with `repair` makes the copy equal to its source, and ends the doubt."
    )


class PipelineState(ResponseBody):
    observed_at: UtcDatetime
    problem: str | None = Field(
        description="Why the process that answers applies nothing, or not everything; null if everything is applied.",
        examples=[None],
    )
    stores: list[StoreState]
    connectors: Connectors
    broker: Broker
    routes: list[PipelineRoute]
    dead_letters_reason: Reason = Field(description="Why the number of open dead letters is unknown.")
