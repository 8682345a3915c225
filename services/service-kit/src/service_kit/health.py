"""`/healthz`, `/readyz` and `/metrics`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, Field

from service_kit.time_limits import time_limit

# Raises if the dependency is unavailable; the exception is shown as the reason. The result, if any, is a remark: the
# service is ready all the same.
ReadinessCheck = Callable[[], Awaitable[str | None]]

CHECK_DEADLINE_SECONDS = 2.0


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """`checks` has `ok` or the reason for each dependency; `remarks` inform operators and do not affect readiness."""

    status: Literal["ready", "not ready"]
    checks: dict[str, str] = Field(examples=[{"mysql": "ok"}])
    remarks: list[str] = Field(default=[], examples=[[]])


async def _outcome(check: ReadinessCheck) -> tuple[str, str | None]:
    """`ok` or the reason, and the remark."""
    try:
        async with time_limit(CHECK_DEADLINE_SECONDS):
            return "ok", await check()
    except TimeoutError:
        return f"no answer within {CHECK_DEADLINE_SECONDS:g} s", None
    except Exception as error:  # noqa: BLE001 - every error means not ready
        # Only the class: the message of a driver may contain addresses and account names.
        return getattr(error, "readiness_reason", None) or type(error).__name__, None


class NotReady(Exception):  # noqa: N818 - a state, not a fault
    """A reason without addresses or account names, which may be shown to everyone."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.readiness_reason = reason


def health_router(checks: Callable[[], Mapping[str, ReadinessCheck]], registry: CollectorRegistry) -> APIRouter:
    """Routes of the probes. `checks` is called for each request, because the lifespan creates what is checked."""
    router = APIRouter(tags=["operations"])

    async def readiness() -> Readiness:
        named = checks()
        outcomes = await asyncio.gather(*(_outcome(check) for check in named.values()))
        by_name = {name: outcome for name, (outcome, _) in zip(named, outcomes, strict=True)}
        ready = all(outcome == "ok" for outcome, _ in outcomes)
        remarks = [remark for _, remark in outcomes if remark]
        return Readiness(status="ready" if ready else "not ready", checks=by_name, remarks=remarks)

    @router.get("/healthz", summary="Liveness: the process runs")
    async def healthz() -> Health:
        return Health()

    @router.get(
        "/readyz",
        summary="Readiness: the dependencies answer",
        responses={503: {"model": Readiness, "description": "A dependency does not answer."}},
    )
    async def readyz(response: Response, state: Annotated[Readiness, Depends(readiness)]) -> Readiness:
        if state.status != "ready":
            response.status_code = 503
        return state

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": "up 1.0\n"}}}},
    )
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
