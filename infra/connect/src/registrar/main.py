"""The registrar as an HTTP application: it watches in the background and tells what it sees."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel

from registrar.connectors import Connector
from registrar.settings import Settings
from registrar.topics import TopicDeclaration
from registrar.watching import Registrar, RegistrarMetrics
from service_kit.application import create_application
from service_kit.health import NotReady, ReadinessCheck
from service_kit.metrics import new_registry

router = APIRouter(tags=["connectors"])


class ConnectorState(BaseModel):
    """`problem` is null if all is well; states are Kafka Connect's words; the age is in seconds."""

    name: str
    problem: str | None
    state: str | None
    task_states: list[str]
    heartbeat_age_seconds: float | None


@router.get("/v1/connectors", summary="The connectors as they were at the last look")
async def connectors(request: Request) -> list[ConnectorState]:
    registrar: Registrar = request.app.state.registrar
    return [
        ConnectorState(
            name=name,
            problem=problem,
            state=seen.state if seen else None,
            task_states=list(seen.task_states) if seen else [],
            heartbeat_age_seconds=seen.heartbeat_age if seen else None,
        )
        for name, problem in registrar.problems.items()
        for seen in [registrar.seen.get(name)]
    ]


def create_app(settings: Settings, declared: Sequence[Connector], topics: Mapping[str, TopicDeclaration]) -> FastAPI:
    registry = new_registry()
    registrar = Registrar(settings, declared, topics, RegistrarMetrics(registry))

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.registrar = registrar
        watching = asyncio.create_task(registrar.run())
        yield
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching

    def check(name: str) -> ReadinessCheck:
        async def healthy() -> None:
            if problem := registrar.problems[name]:
                raise NotReady(problem)

        return healthy

    return create_application(
        title="Tandem registrar",
        description="Keeps the Debezium connectors registered and alive.",
        version="1",
        settings=settings,
        lifespan=lifespan,
        routers=[router],
        readiness=lambda _app: {connector.name: check(connector.name) for connector in declared},
        registry=registry,
    )
