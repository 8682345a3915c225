"""The registrar as an HTTP application: it watches in the background and reports the state of each connector."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel

from registrar.connectors import Connector
from registrar.metrics import RegistrarMetrics
from registrar.observation import Observation
from registrar.settings import Settings
from registrar.topics import TopicDeclaration
from registrar.watching import Registrar
from service_kit.application import create_application
from service_kit.background import Supervisor
from service_kit.health import NotReady, ReadinessCheck
from service_kit.metrics import new_registry

router = APIRouter(tags=["connectors"])


class ConnectorState(BaseModel):
    """`problem` is null if all is well; states are Kafka Connect's words, null if it does not know the connector or
    does not answer; `failure` is what connector or task failed of; the age is in seconds; `repairs` are how often the
    registrar has put or restarted the connector since it began.
    """

    name: str
    topic_prefix: str
    problem: str | None
    state: str | None
    task_states: list[str]
    failure: str | None
    repairs: int
    heartbeat_age_seconds: float | None


@router.get("/v1/connectors", summary="The connectors as they were at the last look")
async def connectors(request: Request) -> list[ConnectorState]:
    registrar: Registrar = request.app.state.registrar
    return [
        ConnectorState(
            name=connector.name,
            topic_prefix=connector.config["topic.prefix"],
            problem=registrar.problems[connector.name],
            state=seen.state,
            task_states=list(seen.task_states),
            failure=seen.failure,
            repairs=registrar.repairs[connector.name],
            heartbeat_age_seconds=seen.heartbeat_age,
        )
        for connector in registrar.connectors
        for seen in [registrar.seen.get(connector.name, Observation(config=None))]
    ]


def create_app(settings: Settings, declared: Sequence[Connector], topics: Mapping[str, TopicDeclaration]) -> FastAPI:
    registry = new_registry()
    supervisor = Supervisor(registry)
    metrics = RegistrarMetrics(registry, [connector.name for connector in declared], topics)
    registrar = Registrar(settings, declared, topics, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.registrar = registrar
        async with supervisor.task("connectors", registrar.run):
            yield

    async def topics_are_healthy() -> None:
        if problem := registrar.topics_problem:
            raise NotReady(problem)

    def check(name: str) -> ReadinessCheck:
        async def healthy() -> None:
            if problem := registrar.problems[name]:
                raise NotReady(problem)

        return healthy

    return create_application(
        title="Tandem registrar",
        description="Keeps the topics and the Debezium connectors as declared, and the connectors alive.",
        version="1",
        settings=settings,
        lifespan=lifespan,
        routers=[router],
        readiness=lambda _app: {
            "topics": topics_are_healthy,
            **{connector.name: check(connector.name) for connector in declared},
        },
        registry=registry,
        supervisor=supervisor,
    )
