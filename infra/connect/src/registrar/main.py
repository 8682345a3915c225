"""The registrar as an HTTP application: it polls in the background and reports the state of each connector."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated

from aiokafka.errors import KafkaError
from fastapi import APIRouter, FastAPI, Path, Query, Request
from pydantic import BaseModel, Field

from registrar.connectors import Connector
from registrar.declared import DeclaredFile
from registrar.managed import ManagedConnector
from registrar.metrics import RegistrarMetrics
from registrar.problems import RowsNotRequestable, SnapshotNotFound, TopicNotCaptured
from registrar.reconcile_loop import Registrar, Snapshot
from registrar.settings import Settings
from registrar.snapshots import RequestState
from registrar.state import ConnectorState
from registrar.topics import TopicDeclaration
from service_kit.application import create_application
from service_kit.background import Supervisor
from service_kit.health import NotReady, ReadinessCheck
from service_kit.metrics import new_registry
from service_kit.problems import ServiceUnavailable, ValidationFailed, problem_responses
from service_kit.schemas import RequestBody

router = APIRouter(tags=["connectors"])


class ConnectorReport(BaseModel):
    """`problem` is null if the connector is healthy, `source_problem` if the settings of its database are right or
    unknown. `waits_for` names what must exist before the connector can be registered. States are Kafka Connect's words,
    null if Connect does not have the connector or does not answer. `failure` is the error of the connector or of a
    task. `repairs` counts how often the registrar put, restarted or reset the connector since the registrar started.
    `activity_age_seconds` is the age of the newest heartbeat or event. `rows_awaited` are the tables with rows that are
    not in Kafka yet, because a snapshot has to copy them.
    """

    name: str
    topic_prefix: str
    problem: str | None
    source_problem: str | None
    waits_for: str | None
    state: str | None
    task_states: list[str]
    failure: str | None
    repairs: int
    heartbeat_age_seconds: float | None
    activity_age_seconds: float | None
    rows_awaited: list[str]


@router.get("/v1/connectors", summary="List the connectors with their states at the last poll")
async def connectors(request: Request) -> list[ConnectorReport]:
    registrar: Registrar = request.app.state.registrar
    return [
        ConnectorReport(
            name=managed.name,
            topic_prefix=managed.connector.config["topic.prefix"],
            problem=managed.problem,
            source_problem=managed.source_problem,
            waits_for=managed.waits_for,
            state=current.state,
            task_states=list(current.task_states),
            failure=current.failure,
            repairs=managed.repairs,
            heartbeat_age_seconds=current.heartbeat_age,
            activity_age_seconds=current.activity_age,
            rows_awaited=list(managed.rows_awaited),
        )
        for managed in registrar.managed.values()
        for current in [managed.state or ConnectorState(config=None)]
    ]


class SnapshotRequest(RequestBody):
    """The topic of the table or collection."""

    topic: str = Field(max_length=249, examples=["cdc.mysql.shop.products"])


class SnapshotReport(BaseModel):
    """`rows` have been read since the connector's last start, about. `reason` is Debezium's word if it has not copied
    all of them. `problem` is that of the connector, which continues once it is healthy.
    """

    id: str
    connector: str
    table: str
    state: RequestState
    rows: int
    reason: str | None
    problem: str | None


@router.post(
    "/v1/snapshots",
    status_code=202,
    summary="Have all rows of a table written to its topic again",
    responses=problem_responses(TopicNotCaptured, RowsNotRequestable, ValidationFailed, ServiceUnavailable),
)
async def request_snapshot(request: Request, requested: SnapshotRequest) -> SnapshotReport:
    """While the connector runs, and beside live changes. A snapshot that is requested or running is the answer; no
    second one starts.
    """
    registrar: Registrar = request.app.state.registrar
    return _report(await registrar.request_rows(requested.topic))


@router.get(
    "/v1/snapshots/{snapshot_id}",
    summary="Get the progress of a requested snapshot",
    responses=problem_responses(
        TopicNotCaptured, RowsNotRequestable, SnapshotNotFound, ValidationFailed, ServiceUnavailable
    ),
)
async def snapshot(
    request: Request,
    snapshot_id: Annotated[str, Path(max_length=100, examples=["1f0c9a7be2d3458a"])],
    topic: Annotated[str, Query(max_length=249, examples=["cdc.mysql.shop.products"])],
) -> SnapshotReport:
    registrar: Registrar = request.app.state.registrar
    found = await registrar.requested_rows(topic, snapshot_id)
    if found is None:
        raise SnapshotNotFound
    return _report(found)


def _report(snapshot: Snapshot) -> SnapshotReport:
    rows, managed = snapshot.rows, snapshot.managed
    return SnapshotReport(
        id=rows.id,
        connector=managed.name,
        table=rows.table,
        state=rows.state,
        rows=rows.rows,
        reason=rows.reason,
        problem=managed.problem or managed.waits_for,
    )


def create_app(
    settings: Settings,
    declared: Sequence[Connector],
    topics: Mapping[str, TopicDeclaration],
    routes: DeclaredFile | None = None,
) -> FastAPI:
    """`routes` are followed, if they are given."""
    registry = new_registry()
    supervisor = Supervisor(registry)
    metrics = RegistrarMetrics(registry, [connector.name for connector in declared], topics)
    registrar = Registrar(settings, declared, topics, metrics, routes)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.registrar = registrar
        async with supervisor.task("connectors", registrar.run):
            yield

    async def check_topics() -> None:
        if problem := registrar.topics_problem:
            raise NotReady(problem)

    async def check_routes() -> None:
        if problem := registrar.routes_problem:
            raise NotReady(problem)

    def check_of(managed: ManagedConnector) -> ReadinessCheck:
        async def check() -> None:
            if found := managed.problem or managed.waits_for or managed.source_problem:
                raise NotReady(found)

        return check

    return create_application(
        title="Tandem registrar",
        description="Creates the topics and the Debezium connectors as declared, and repairs them.",
        version="1",
        settings=settings,
        lifespan=lifespan,
        routers=[router],
        readiness=lambda _app: {
            "topics": check_topics,
            **({} if registrar.routes_problem is None else {"routes": check_routes}),
            **{name: check_of(managed) for name, managed in registrar.managed.items()},
        },
        unavailable_on=[KafkaError],
        registry=registry,
        supervisor=supervisor,
    )
