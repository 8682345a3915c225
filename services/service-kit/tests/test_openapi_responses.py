"""Responses in the OpenAPI document, and times and ids in requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from pydantic import TypeAdapter, ValidationError

from service_kit.application import create_application
from service_kit.openapi import TOKEN_IS_OPTIONAL
from service_kit.problems import TooManyRequests, Unauthorized, problem_responses
from service_kit.schemas import DatetimeParam, RequestBody, UuidParam
from service_kit.settings import ServiceSettings
from service_kit.tokens import bearer_scheme
from support.responses import problem

router = APIRouter()
Token = Annotated[str | None, Depends(bearer_scheme("v1/token"))]


class Thing(RequestBody):
    name: str
    is_big: bool = False


@router.get("/things/{number}", responses=problem_responses(Unauthorized, TooManyRequests))
async def read_thing(number: int, token: Token) -> int:
    return number


@router.put("/things/{number}", openapi_extra=TOKEN_IS_OPTIONAL)
async def put_thing(number: int, thing: Thing, token: Token) -> Thing:
    return thing


@router.delete("/things/{name}")
async def delete_thing(name: str) -> None:
    raise RuntimeError(name)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield


@pytest.fixture
def app() -> FastAPI:
    return create_application(
        title="things",
        description="",
        version="1",
        settings=ServiceSettings(port=1),
        lifespan=lifespan,
        routers=[router],
        readiness=lambda _app: {},
    )


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://things.test") as client:
        yield client


@pytest.fixture
def operations(app: FastAPI) -> dict[str, Any]:
    found: dict[str, Any] = app.openapi()["paths"]["/things/{number}"]
    return found


def test_response_headers_are_documented(operations: dict[str, Any], app: FastAPI) -> None:
    answers = operations["get"]["responses"]
    assert answers["200"]["headers"].keys() == {"X-Request-ID", "RateLimit", "RateLimit-Policy"}
    assert "WWW-Authenticate" in answers["401"]["headers"]
    assert "Retry-After" in answers["429"]["headers"]
    references = {each["$ref"].rpartition("/")[2] for answer in answers.values() for each in answer["headers"].values()}
    assert references <= app.openapi()["components"]["headers"].keys()


def test_errors_of_request_bodies_are_documented(operations: dict[str, Any]) -> None:
    assert {"400", "413", "422"} <= operations["put"]["responses"].keys()
    for status in ("400", "413", "422"):
        assert operations["put"]["responses"][status]["content"]["application/problem+json"]["examples"]


def test_operation_ids_and_required_tokens_are_documented(
    operations: dict[str, Any],
) -> None:
    (scheme,) = operations["get"]["security"][0]
    assert (operations["get"]["operationId"], operations["get"]["security"]) == ("read_thing", [{scheme: []}])
    assert (operations["put"]["operationId"], operations["put"]["security"]) == ("put_thing", [{scheme: []}, {}])


async def test_allow_lists_all_methods_of_a_path(client: httpx.AsyncClient) -> None:
    answer = await client.options("/things/1")
    assert problem(answer) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD, PUT, DELETE"


async def test_unexpected_error_has_a_request_id(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/things/1", headers={"X-Request-ID": "mine"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine"


@pytest.mark.parametrize("is_big", [0, "no", "true", None])
async def test_values_are_not_converted_to_another_type(client: httpx.AsyncClient, is_big: object) -> None:
    answer = await client.put("/things/1", json={"name": "x", "is_big": is_big})
    assert problem(answer) == (422, "validation-failed")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31t12:00:00.5+01:00", datetime(2026, 1, 31, 11, 0, 0, 500_000, UTC)),
    ],
)
def test_time_is_rfc_3339(written: str, meant: datetime) -> None:
    assert TypeAdapter(DatetimeParam).validate_python(written) == meant


@pytest.mark.parametrize(
    "written",
    ["0", "0.5", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31T12:00Z", "0001-01-01T00:00:00+23:59", "today"],
)
def test_other_notations_of_times_are_refused(written: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(DatetimeParam).validate_python(written)


@pytest.mark.parametrize(
    "written", ["", "x", "019AC2E4-6F1B-7C3E-9A52-0B7D8D3F4E21", "019ac2e4-6f1b-7c3e-9a52-0b7d8d3f4e21\n"]
)
def test_invalid_ids_are_refused(written: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(UuidParam).validate_python(written)
