"""Builds the application."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

from service_kit.application import create_application
from service_kit.health import NotReady, ReadinessCheck
from service_kit.metrics import new_registry
from sync_service.consumer.operation import SyncOperation
from sync_service.routes.models import Route
from sync_service.settings import Settings
from sync_service.status.endpoints import router
from sync_service.status.metrics import SyncMetrics


def create_app(settings: Settings, routes: Sequence[Route]) -> FastAPI:
    registry = new_registry()
    metrics = SyncMetrics(registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings
        app.state.operation = operation = SyncOperation(settings, routes, metrics)
        running = asyncio.create_task(operation.run())
        yield
        operation.stop()
        await running

    return create_application(
        title="Tandem: sync",
        description="Applies the change events of each store to its copy in the other one.",
        version="0.1.0",
        settings=settings,
        lifespan=lifespan,
        routers=[router],
        readiness=_readiness,
        registry=registry,
    )


def _readiness(app: FastAPI) -> Mapping[str, ReadinessCheck]:
    async def consumer() -> None:
        if problem := app.state.operation.problem:
            raise NotReady(problem)

    return {"consumer": consumer}
