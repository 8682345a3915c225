"""Creates the FastAPI application of a service, with everything that all services have."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import Lifespan
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service_kit.background import Supervisor, TaskEnded
from service_kit.documentation import serve_documentation
from service_kit.event_loop import EventLoopMetrics
from service_kit.health import ReadinessCheck, health_router
from service_kit.metrics import HttpMetrics, new_registry
from service_kit.middleware import (
    MAX_BODY_BYTES,
    BodyLimitMiddleware,
    GatewayPrefixMiddleware,
    HeadMiddleware,
    NoStoreMiddleware,
    QueryTextMiddleware,
    RequestContextMiddleware,
)
from service_kit.openapi import describe_responses
from service_kit.problems import install_problem_handlers
from service_kit.redirects import redirect_slashes
from service_kit.settings import ServiceSettings


def create_application(
    *,
    title: str,
    description: str,
    version: str,
    settings: ServiceSettings,
    lifespan: Lifespan[FastAPI],
    routers: Sequence[APIRouter],
    readiness: Callable[[FastAPI], Mapping[str, ReadinessCheck]],
    unavailable_on: Sequence[type[Exception]] = (),
    unavailable_if: Mapping[type[Exception], Callable[[Any], bool]] | None = None,
    registry: CollectorRegistry | None = None,
    supervisor: Supervisor | None = None,
) -> FastAPI:
    """Create the application.

    `readiness` returns a check for each dependency of the application. Driver errors in `unavailable_on` become a 503
    with `Retry-After`, and those in `unavailable_if` for which the function is true. `registry` has the metrics of the
    service; `supervisor`, created with that registry, runs its background tasks.
    """
    registry = registry or new_registry()
    supervisor = supervisor or Supervisor(registry)
    event_loop = EventLoopMetrics(registry)

    @asynccontextmanager
    async def watched_lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with supervisor.task("event-loop-lag", event_loop.watch), lifespan(app):
            yield

    app = FastAPI(
        title=title,
        description=description,
        version=version,
        lifespan=watched_lifespan,
        docs_url=None,
        redoc_url=None,
        # `metrics` and `trace_context` do this; FastAPI's own would cost time in each request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        # The operation id, which links and generated clients use.
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.supervisor = supervisor
    redirect_slashes(app)
    for router in routers:
        app.include_router(router)
    # After the most frequent routes, because routes are tried in order.
    app.include_router(health_router(lambda: readiness(app), registry))
    serve_documentation(app)
    # `TaskEnded`: a task that the request awaited was cancelled. The next request starts it again.
    install_problem_handlers(app, (*unavailable_on, TaskEnded), unavailable_if)
    # The middleware that is added last is the outermost.
    app.add_middleware(HeadMiddleware)
    app.add_middleware(BodyLimitMiddleware, limit=MAX_BODY_BYTES)
    app.add_middleware(QueryTextMiddleware)
    app.add_middleware(NoStoreMiddleware)
    app.add_middleware(RequestContextMiddleware, metrics=HttpMetrics(registry))
    app.add_middleware(GatewayPrefixMiddleware, prefix=settings.gateway_prefix)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=[str(network) for network in settings.trusted_proxies])
    describe_responses(app)
    return app
