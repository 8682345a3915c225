"""Errors, bodies, request ids and the gateway's prefix, in a small application."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from pymongo.errors import OperationFailure
from starlette.types import Message

from service_kit.application import create_application
from service_kit.health import NotReady
from service_kit.middleware import MAX_BODY_BYTES, MAX_QUERY_BYTES
from service_kit.pagination import set_link_header
from service_kit.problems import MAX_ERRORS, NotFound
from service_kit.schemas import RequestBody
from service_kit.settings import ServiceSettings
from support.logs import configured_logging

router = APIRouter(prefix="/v1")


class Thing(RequestBody):
    name: str
    parts: list[int] | None = None
    labels: dict[str, list[str]] | None = None
    unlimited: list[int] | None = None


class ThingNotFound(NotFound):
    code, title = "thing-not-found", "There is no such thing."


@router.post("/things")
async def make(thing: Thing) -> Thing:
    return thing


@router.get("/things/{name}")
async def read(name: str, request: Request) -> str:
    if name == "missing":
        raise ThingNotFound
    if name == "bug":
        raise RuntimeError("SELECT secret FROM everything")
    if name == "down":
        raise ConnectionError("10.0.0.7 said no")
    if name == "refused":
        raise OperationFailure("not authorized on things to execute command { insert: 'ada@example.com' }", 13)
    return request.scope["root_path"]


@router.get("/things")
async def search(request: Request, response: Response, name: str = "") -> str:
    response.headers["Cache-Control"] = "public, max-age=60"
    set_link_header(request, response, "next")
    return name


@router.get("/stream")
async def stream() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        while True:
            await asyncio.sleep(0.01)
            yield "\n"

    return StreamingResponse(lines())


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield


@pytest.fixture
async def dependency() -> dict[str, Exception | None]:
    return {"problem": None}


@pytest.fixture
def app(dependency: dict[str, Exception | None]) -> FastAPI:
    async def check() -> None:
        if dependency["problem"] is not None:
            raise dependency["problem"]

    return create_application(
        title="things",
        description="",
        version="1",
        settings=ServiceSettings(port=1, gateway_prefix="/api/things"),
        lifespan=lifespan,
        routers=[router],
        readiness=lambda _app: {"store": check},
        unavailable_on=[ConnectionError, OperationFailure],
    )


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://things.test") as client:
        yield client


async def test_problem_is_as_in_rfc_9457(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/things/missing", headers={"X-Request-ID": "mine"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:tandem:problem:thing-not-found",
        "title": "There is no such thing.",
        "status": 404,
        "detail": "There is no such thing.",
        "instance": "/v1/things/missing",
        "code": "thing-not-found",
        "request_id": "mine",
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nowhere", 404, "not-found"), ("DELETE", "/v1/things", 405, "method-not-allowed")],
)
async def test_errors_of_the_framework_are_problems(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
    ids=["no type", "text", "form", "compressed"],
)
async def test_body_that_is_not_json_is_a_documented_415(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.post("/v1/things", content=b'{"name": "spanner"}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")
    assert "application/json" in answer.json()["detail"]
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert "415" in paths["/v1/things"]["post"]["responses"]


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8", "application/a+json"])
async def test_media_types_of_json_are_accepted(client: httpx.AsyncClient, media_type: str) -> None:
    answer = await client.post("/v1/things", content=b'{"name": "spanner"}', headers={"Content-Type": media_type})
    assert answer.status_code == 200
    identity = {"Content-Type": media_type, "Content-Encoding": "identity"}
    wrong = await client.post("/v1/things", content=b'"spanner"', headers=identity)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "validation-failed")


async def test_request_without_a_body_lacks_fields(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/things")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "missing")


@pytest.mark.parametrize("path", ["/v1/things/spanner", "/v1/things/missing", "/healthz", "/openapi.json", "/nowhere"])
async def test_head_is_get_without_a_body(client: httpx.AsyncClient, path: str) -> None:
    head, get = (
        await client.head(path, headers={"X-Request-ID": "1"}),
        await client.get(path, headers={"X-Request-ID": "1"}),
    )
    assert (head.status_code, head.headers) == (get.status_code, get.headers)
    assert head.content == b""
    assert get.content


async def test_server_sees_head_when_the_request_fails(app: FastAPI) -> None:
    """It decides by the method whether it sends the body of the 500."""
    scope = {"type": "http", "method": "HEAD", "path": "/v1/things/bug", "query_string": b"", "headers": []}
    seen = set()

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        seen.add(scope["method"])

    with pytest.raises(RuntimeError):
        await app(scope, receive, send)
    assert seen == {"HEAD"}


async def test_head_of_a_stream_ends(client: httpx.AsyncClient) -> None:
    answer = await client.head("/v1/stream")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_body_that_is_not_text_is_a_documented_400(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/things", content=b"\xff{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-request")
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"400", "413", "422"} <= paths["/v1/things"]["post"]["responses"].keys()
    assert not {"400", "413"} & paths["/v1/things/{name}"]["get"]["responses"].keys()


async def test_instance_is_a_uri_for_any_path(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/nowhere/%C3%BB%02%22 x")
    assert answer.json()["instance"] == "/v1/nowhere/%C3%BB%02%22%20x"


async def test_unexpected_error_reveals_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/things/bug")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "SELECT" not in answer.text


async def test_unavailable_dependency_is_a_503_without_addresses(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/things/down")
    assert (answer.status_code, answer.json()["code"]) == (503, "service-unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "10.0.0.7" not in answer.text


async def test_refused_command_is_a_503_and_not_in_the_log(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with configured_logging():
        assert (await client.get("/v1/things/refused")).status_code == 503
    logged = capsys.readouterr().out
    assert '"error": "OperationFailure 13"' in logged
    assert "ada@example.com" not in logged


async def test_every_invalid_field_has_a_pointer(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/things", json={"parts": [1, "x"], "a/b~c": 1})
    assert {error["pointer"] for error in answer.json()["errors"]} == {"#/name", "#/parts/1", "#/a~1b~0c"}


@pytest.mark.parametrize(
    "body",
    [
        {f"{number:x}": 1 for number in range(5000)},
        {"name": "a"} | {f"{number:x}": {"name": "a"} for number in range(2000)},
        {"name": "a", "unlimited": ["x"] * 10_000},
        {"a" * 50_000: 1},
        {"name": "a", "labels": {"a" * 50_000: 1}},
    ],
    ids=["unknown fields", "unknown objects", "wrong items", "long unknown name", "long known name"],
)
async def test_answer_to_a_wrong_body_is_small(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    answer = await client.post("/v1/things", json=body)
    assert answer.status_code == 422
    assert 0 < len(answer.json()["errors"]) <= MAX_ERRORS
    assert len(answer.content) < 6000


async def test_answer_says_how_many_errors_it_does_not_show(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/things", json={"name": "a", "unlimited": ["x"] * (MAX_ERRORS + 3)})
    assert answer.json()["detail"].endswith("; and 3 more")


async def test_missing_field_is_reported_among_many_unknown_ones(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/things", json={f"{number:x}": 1 for number in range(5000)})
    assert answer.json()["errors"][0] == {"pointer": "#/name", "code": "missing", "detail": "Field required"}
    known_last = {f"{number:x}": 1 for number in range(5000)} | {"name": "a"}
    answer = await client.post("/v1/things", json=known_last)
    assert {each["code"] for each in answer.json()["errors"]} == {"extra-forbidden"}


@pytest.mark.parametrize("depth", range(800, 1000, 9))
async def test_deeply_nested_body_is_refused(client: httpx.AsyncClient, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    for body in (f'{{"name": {nested}}}', f'{{"name": "a", "labels": {{"a": {nested}}}}}', f'{{"x": {nested}}}'):
        answer = await client.post("/v1/things", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), depth


async def test_long_query_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/v1/things?{'a&' * (MAX_QUERY_BYTES // 2)}")).status_code == 200
    answer = await client.get(f"/v1/things?{'a&' * (MAX_QUERY_BYTES // 2)}a")
    assert (answer.status_code, answer.json()["code"]) == (422, "validation-failed")


@pytest.mark.parametrize("announced", [True, False])
async def test_body_over_the_limit_is_a_413_with_and_without_content_length(
    client: httpx.AsyncClient, announced: bool
) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * (MAX_BODY_BYTES // 16)

    content = b" " * (MAX_BODY_BYTES + 1) if announced else stream()
    answer = await client.post("/v1/things", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "payload-too-large")


async def test_body_at_the_limit_is_read(client: httpx.AsyncClient) -> None:
    thing = b'{"name": "x"}'
    content = thing + b" " * (MAX_BODY_BYTES - len(thing))
    answer = await client.post("/v1/things", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.parametrize("offered", ["", "x" * 129, "a b", "a\tb", 'a"b', "\u00e9"])
async def test_request_id_that_could_forge_a_log_line_is_replaced(client: httpx.AsyncClient, offered: str) -> None:
    answer = await client.get("/v1/things/x", headers={"X-Request-ID": offered.encode()})
    assert answer.headers["x-request-id"] not in ("", offered)


async def test_only_the_configured_prefix_is_accepted(client: httpx.AsyncClient) -> None:
    for prefix, believed in (("/api/things", "/api/things"), ("https://evil.test", ""), ("/api/other", "")):
        answer = await client.get("/v1/things/x", headers={"X-Forwarded-Prefix": prefix})
        assert answer.json() == believed
        description = (await client.get("/openapi.json", headers={"X-Forwarded-Prefix": prefix})).json()
        assert "evil" not in str(description.get("servers"))


async def test_readiness_has_reasons_without_addresses(
    client: httpx.AsyncClient, dependency: dict[str, Exception | None]
) -> None:
    assert (await client.get("/readyz")).json() == {
        "status": "ready",
        "checks": {"store": "ok"},
        "remarks": [],
    }
    dependency["problem"] = ConnectionError("10.0.0.7 said no")
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"store": "ConnectionError"})
    dependency["problem"] = NotReady("waiting for its turn")
    assert (await client.get("/readyz")).json()["checks"] == {"store": "waiting for its turn"}
    assert (await client.get("/healthz")).status_code == 200


async def test_metrics_count_by_route_and_not_by_path(client: httpx.AsyncClient) -> None:
    for name in ("one", "two", "three"):
        await client.get(f"/v1/things/{name}")
    await client.get("/random/path")
    metrics = (await client.get("/metrics")).text
    assert 'http_requests_total{method="GET",route="/v1/things/{name}",status="200"} 3.0' in metrics
    assert 'route="unmatched"' in metrics
    assert "/random/path" not in metrics


@pytest.mark.parametrize("credentials", [{"Authorization": "Bearer x"}, {"Cookie": "a=b"}, {"Authorization": ""}])
@pytest.mark.parametrize("path", ["/v1/things", "/v1/things/missing", "/v1/things?name=%00", "/v1/things/", "/nowhere"])
async def test_answer_to_a_request_with_credentials_is_stored_in_no_cache(
    client: httpx.AsyncClient, credentials: dict[str, str], path: str
) -> None:
    assert (await client.get(path, headers=credentials)).headers["cache-control"] == "no-store"


async def test_answer_to_a_request_without_credentials_may_be_cached(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/things")).headers["cache-control"] == "public, max-age=60"


@pytest.mark.parametrize("host", ["evil.test", "evil.test/path", "evil.test?query", "evil.test#part", "a@evil.test:1"])
@pytest.mark.parametrize("prefix", ["", "/api/things"])
async def test_host_of_the_request_is_in_no_address(client: httpx.AsyncClient, host: str, prefix: str) -> None:
    headers = {"Host": host, **({"X-Forwarded-Prefix": prefix} if prefix else {})}
    page = await client.get("/v1/things?name=a", headers=headers)
    assert page.headers["link"] == f'<{prefix}/v1/things?name=a&cursor=next>; rel="next"'
    redirect = await client.get("/v1/things/?name=a", headers=headers)
    assert (redirect.status_code, redirect.headers["location"]) == (307, f"{prefix}/v1/things?name=a")
    missing = await client.get("/v1/things/missing", headers=headers)
    assert missing.json()["instance"] == f"{prefix}/v1/things/missing"
    assert (await client.get("//evil.test/", headers=headers)).status_code == 404


@pytest.mark.parametrize("text", ["%00", "a%00b", "%ff", "%ED%A0%80", "%F0%9F"])
async def test_query_that_is_no_text_is_refused(client: httpx.AsyncClient, text: str) -> None:
    for query in (f"name={text}", f"other={text}&name=a"):
        answer = await client.get(httpx.URL("http://things.test/v1/things", query=query.encode("latin-1")))
        assert (answer.status_code, answer.json()["code"]) == (422, "validation-failed")
        assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]
        assert answer.headers["x-request-id"]
    answer = await client.get(httpx.URL("http://things.test/v1/things", query=f"{text}=a".encode("latin-1")))
    assert answer.status_code == 422


async def test_query_in_any_script_is_accepted(client: httpx.AsyncClient) -> None:
    for name in ("é", "日本語", "👩‍👩‍👧‍👦", "a+b %", "\ufffd"):
        assert (await client.get("/v1/things", params={"name": name})).json() == name


@pytest.mark.parametrize("odd", ["\0", "a\0b", "\ud800", "a\udfffb"])
async def test_body_with_something_that_is_no_text_is_refused(client: httpx.AsyncClient, odd: str) -> None:
    for body in ({"name": odd}, {"name": "a", "labels": {"a": ["b", odd]}}, {"name": "a", "labels": {odd: []}}):
        answer = await client.post("/v1/things", content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "string-unicode")
