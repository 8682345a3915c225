"""The registrar as an HTTP application: it polls in the background and reports the state of each connector."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel

from registrar.connectors import Connector
from registrar.declared import DeclaredFile
from registrar.managed import ManagedConnector
from registrar.metrics import RegistrarMetrics
from registrar.reconcile_loop import Registrar
from registrar.settings import Settings
from registrar.state import ConnectorState
from registrar.topics import TopicDeclaration
from service_kit.application import create_application
from service_kit.background import Supervisor
from service_kit.health import NotReady, ReadinessCheck
from service_kit.metrics import new_registry

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
        registry=registry,
        supervisor=supervisor,
    )
