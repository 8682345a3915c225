"""Makes a service's FastAPI application, with everything every service has."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import CollectorRegistry
from starlette.types import Lifespan
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service_kit.health import ReadinessCheck, health_router
from service_kit.metrics import HttpMetrics, new_registry
from service_kit.middleware import BodyLimitMiddleware, GatewayPrefixMiddleware, RequestContextMiddleware
from service_kit.problems import (
    MEDIA_TYPE,
    BadRequest,
    PayloadTooLarge,
    ProblemDocument,
    install_problem_handlers,
    problem_responses,
)
from service_kit.settings import ServiceSettings

MAX_BODY_BYTES = 1024 * 1024


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
    registry: CollectorRegistry | None = None,
) -> FastAPI:
    """Build the application.

    `readiness` gets the application and names a check for each dependency; `unavailable_on` are exceptions of
    drivers that are answered with 503 and `Retry-After`; `registry` receives the service's own metrics.
    """
    registry = registry or new_registry()
    app = FastAPI(title=title, description=description, version=version, lifespan=lifespan)
    app.include_router(health_router(lambda: readiness(app), registry))
    for router in routers:
        app.include_router(router)
    install_problem_handlers(app, unavailable_on)
    # The last added is the outermost.
    app.add_middleware(BodyLimitMiddleware, limit=MAX_BODY_BYTES)
    app.add_middleware(RequestContextMiddleware, metrics=HttpMetrics(registry))
    app.add_middleware(GatewayPrefixMiddleware, prefix=settings.gateway_prefix)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=[str(network) for network in settings.trusted_proxies])
    _document_problems(app)
    return app


def _document_problems(app: FastAPI) -> None:
    """Show in OpenAPI what every body may be answered with, and our 422 instead of FastAPI's own."""
    unreadable = problem_responses(BadRequest, PayloadTooLarge)
    body = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}}

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            components = schema.setdefault("components", {}).setdefault("schemas", {})
            template = "#/components/schemas/{model}"
            document = ProblemDocument.model_json_schema(ref_template=template)
            components.update(document.pop("$defs", {}))
            components["ProblemDocument"] = document
            for unused in ("HTTPValidationError", "ValidationError"):
                components.pop(unused, None)
            for operations in schema["paths"].values():
                for operation in operations.values():
                    if "requestBody" in operation:
                        operation["responses"] |= {str(status): answer for status, answer in unreadable.items()}
                    invalid = operation["responses"].get("422")
                    if invalid and MEDIA_TYPE not in invalid.get("content", {}):
                        operation["responses"]["422"] = {"description": "Some fields are not valid.", **body}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema
