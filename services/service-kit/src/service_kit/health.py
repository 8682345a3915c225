"""`/healthz`, `/readyz` and `/metrics`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, Field

# Raises if the dependency does not answer; what it raises is shown as the reason. What it returns is a remark of a
# service that is ready all the same.
ReadinessCheck = Callable[[], Awaitable[str | None]]

CHECK_DEADLINE_SECONDS = 2.0


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """`checks` has `ok` or the reason for each dependency; `remarks` are worth an operator's look, and no more."""

    status: Literal["ready", "not ready"]
    checks: dict[str, str] = Field(examples=[{"mysql": "ok"}])
    remarks: list[str] = Field(default=[], examples=[[]])


async def _outcome(check: ReadinessCheck) -> tuple[str, str | None]:
    """`ok` or the reason, and a remark."""
    try:
        async with asyncio.timeout(CHECK_DEADLINE_SECONDS):
            return "ok", await check()
    except TimeoutError:
        return f"no answer within {CHECK_DEADLINE_SECONDS:g} s", None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason for not being ready
        # The class alone: a driver's message may hold addresses and account names.
        return getattr(error, "readiness_reason", None) or type(error).__name__, None


class NotReady(Exception):  # noqa: N818 - a state, not a fault
    """Raised by a check that can say why in words fit for anyone."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.readiness_reason = reason


def health_router(checks: Callable[[], Mapping[str, ReadinessCheck]], registry: CollectorRegistry) -> APIRouter:
    """Routes of the probes. `checks` is called at each request: what it checks is made in the lifespan."""
    router = APIRouter(tags=["operations"])

    async def readiness() -> Readiness:
        named = checks()
        outcomes = await asyncio.gather(*(_outcome(check) for check in named.values()))
        by_name = {name: outcome for name, (outcome, _) in zip(named, outcomes, strict=True)}
        ready = all(outcome == "ok" for outcome, _ in outcomes)
        remarks = [remark for _, remark in outcomes if remark]
        return Readiness(status="ready" if ready else "not ready", checks=by_name, remarks=remarks)

    @router.get("/healthz", summary="Is the process up?")
    async def healthz() -> Health:
        return Health()

    @router.get(
        "/readyz",
        summary="Do the dependencies answer?",
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
