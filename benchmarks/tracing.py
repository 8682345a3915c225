"""`python -m benchmarks.tracing`: the CPU time of the trace context, as a share of a whole request.

It measures the smallest route of a real application with its log line, in one process without network or database: any
further work makes the share smaller. Rounds with and without tracing alternate, and CPU time counts, so that other
programs affect both equally.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, redirect_stdout
from pathlib import Path
from unittest import mock

from fastapi import APIRouter, FastAPI
from starlette.types import Message, Scope

from benchmarks.measurement import MeasurementError
from service_kit import middleware
from service_kit.application import create_application
from service_kit.logging import configure_logging
from service_kit.settings import ServiceSettings

ROUNDS, REQUESTS = 1000, 20
TRACEPARENT = (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

router = APIRouter()


@router.get("/v1/thing")
async def thing() -> dict[str, str]:
    return {"id": "1"}


@asynccontextmanager
async def nothing(_app: FastAPI) -> AsyncIterator[None]:
    yield


def application() -> FastAPI:
    return create_application(
        title="Thing",
        description="For its smallest route.",
        version="1",
        settings=ServiceSettings(port=1),
        lifespan=nothing,
        routers=[router],
        readiness=lambda _app: {},
    )


def _no_span(_headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Replace `begin_span`, to measure without tracing."""


async def round_of_requests(app: FastAPI) -> float:
    """Return the CPU seconds of `REQUESTS` requests, each in its own task, as in a server."""
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/thing",
        "raw_path": b"/v1/thing",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"user-agent", b"benchmark"), (b"accept", b"*/*"), TRACEPARENT],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "scheme": "http",
        "http_version": "1.1",
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message.get("status", 200) != 200:
            raise MeasurementError(f"a request failed with {message['status']}")

    began = time.thread_time()
    for _ in range(REQUESTS):
        await asyncio.create_task(app(dict(scope), receive, send))
    return time.thread_time() - began


async def measure() -> dict[str, float]:
    app = application()
    traced, untraced = [], []
    for _ in range(ROUNDS):
        traced.append(await round_of_requests(app))
        with mock.patch.object(middleware, "begin_span", _no_span):
            untraced.append(await round_of_requests(app))
    # Disturbances only add time, so the fastest round is the least disturbed one.
    least, without = min(traced) / REQUESTS, min(untraced) / REQUESTS
    return {
        "ratio": round(least / without, 3),
        "microseconds_with": round(least * 1e6, 1),
        "microseconds_without": round(without * 1e6, 1),
    }


def main() -> None:
    with Path("/dev/null").open("w") as log, redirect_stdout(log):
        configure_logging("thing", "INFO")
        measured = asyncio.run(measure())
    print(json.dumps(measured), file=sys.stdout)


if __name__ == "__main__":
    main()
