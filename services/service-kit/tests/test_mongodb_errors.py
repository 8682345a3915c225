"""Which errors of MongoDB's driver are unavailability, and become a 503."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    ExecutionTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WTimeoutError,
)

from service_kit.application import create_application
from service_kit.mongodb_errors import is_unavailable
from service_kit.settings import ServiceSettings

UNAVAILABLE = [
    AutoReconnect("connection reset"),
    NotPrimaryError("not primary"),
    ServerSelectionTimeoutError("no primary"),
    ExecutionTimeout("operation exceeded time limit", 50),
    WTimeoutError("waiting for replication timed out", 64),
    OperationFailure("Authentication failed.", 18),
    OperationFailure("not authorized on tweets to execute command", 13),
    OperationFailure("out of disk space", 14031),
]
OTHERS = [
    OperationFailure("unknown operator: $foo", 2),
    DuplicateKeyError("duplicate key", 11000),
    OperationFailure("an error without a code"),
]


@pytest.mark.parametrize("error", UNAVAILABLE, ids=repr)
async def test_unavailability_is_a_503(error: PyMongoError) -> None:
    assert is_unavailable(error)
    answer = await answer_to(error)
    assert (answer.status_code, answer.json()["code"]) == (503, "service-unavailable")
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("error", OTHERS, ids=repr)
async def test_other_error_is_a_500(error: PyMongoError) -> None:
    assert not is_unavailable(error)
    assert (await answer_to(error)).status_code == 500


async def answer_to(error: PyMongoError) -> httpx.Response:
    router = APIRouter()

    @router.get("/v1/things")
    async def read() -> None:
        raise error

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_application(
        title="things",
        description="",
        version="1",
        settings=ServiceSettings(port=1),
        lifespan=lifespan,
        routers=[router],
        readiness=lambda _app: {},
        unavailable_if={PyMongoError: is_unavailable},
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://things.test") as client:
        return await client.get("/v1/things")
