"""A request's trace is found in the log of every service that had to do with it."""

import base64
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import pytest

from e2e.copies import copies_of
from e2e.users import registration
from embedded_stack import Stack
from support.polling import eventually

PARENT = "00f067aa0ba902b7"
Line = Mapping[str, Any]


@pytest.fixture
def trace_id() -> str:
    return secrets.token_hex(16)


@pytest.fixture
async def client(running_stack: Stack, trace_id: str) -> AsyncIterator[httpx.AsyncClient]:
    """Goes through the gateway; every request is of the trace."""
    headers = {"traceparent": f"00-{trace_id}-{PARENT}-01", "tracestate": "vendor=1"}
    gateway = running_stack.addresses["GATEWAY_URL"]
    async with httpx.AsyncClient(base_url=gateway, headers=headers, timeout=20) as client:
        yield client


def logged(stack: Stack, service: str, trace_id: str) -> Sequence[Line]:
    """The lines of the trace in the log of a service."""
    lines = stack.processes[service].log_file.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if f'"{trace_id}"' in line]


def foreign_token() -> str:
    """Signed by an unknown key, so that the key set is fetched."""

    def encoded(part: dict[str, str]) -> str:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")

    head = encoded({"alg": "ES256", "typ": "at+jwt", "kid": secrets.token_hex(8)})
    return f"{head}.{encoded({'sub': 'x'})}.{'A' * 86}"


async def test_log_lines_of_a_request_name_the_trace_of_its_caller(
    running_stack: Stack, client: httpx.AsyncClient, trace_id: str
) -> None:
    answer = await client.get("/api/tweets/v1/tweets")
    assert answer.status_code == 200

    async def lines() -> Sequence[Line]:
        return logged(running_stack, "tweet", trace_id)

    (line,) = await eventually(lines)
    assert (line["event"], line["path"], line["service"]) == ("request", "/api/tweets/v1/tweets", "tweet-service")
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert line["span_id"] != PARENT
    # The caller knows its trace; inner spans are not for callers.
    assert not {"traceparent", "tracestate", "traceresponse"} & {name.lower() for name in answer.headers}


async def test_fetching_keys_is_part_of_the_trace_of_its_request(
    running_stack: Stack, client: httpx.AsyncClient, trace_id: str
) -> None:
    async def lines_of_auth() -> Sequence[Line]:
        # Keys are not fetched again within a moment.
        headers = {"Authorization": f"Bearer {foreign_token()}"}
        assert (await client.get("/api/tweets/v1/timeline", headers=headers)).status_code == 401
        return logged(running_stack, "auth", trace_id)

    (line, *_) = await eventually(lines_of_auth)
    assert line["path"] == "/.well-known/jwks.json"
    assert line["span_id"] not in {each["span_id"] for each in logged(running_stack, "tweet", trace_id)}


async def test_asking_the_registrar_is_part_of_the_trace_of_its_request(
    running_stack: Stack, client: httpx.AsyncClient, trace_id: str
) -> None:
    client.headers["Authorization"] = f"Bearer {await token_of_a_worker(running_stack)}"

    async def lines_of_the_registrar() -> Sequence[Line]:
        # The state of a moment ago is answered from a cache.
        assert (await client.get("/api/sync/v1/pipeline")).status_code == 200
        return logged(running_stack, "registrar", trace_id)

    (line, *_) = await eventually(lines_of_the_registrar)
    assert line["path"] == "/v1/connectors"


async def token_of_a_worker(stack: Stack) -> str:
    async with registration(stack.addresses["GATEWAY_URL"]) as register, copies_of(stack) as copies:
        user = await register()
        await copies.execute("UPDATE auth.users SET role = 'technical_worker' WHERE id = :id", id=user.id)
        login = {"login": user.username, "password": user.password}
        tokens = await user.client.post("/api/auth/v1/login", json=login)
    token: str = tokens.json()["access_token"]
    return token


@pytest.mark.parametrize("traceparent", [None, "nonsense", f"00-{'0' * 32}-{PARENT}-01"])
async def test_request_without_a_valid_trace_starts_one(running_stack: Stack, traceparent: str | None) -> None:
    request_id = secrets.token_hex(16)
    headers = {"X-Request-ID": request_id} | ({"traceparent": traceparent} if traceparent else {})
    async with httpx.AsyncClient(base_url=running_stack.addresses["GATEWAY_URL"], timeout=20) as client:
        assert (await client.get("/api/tweets/v1/tweets", headers=headers)).status_code == 200

    async def lines() -> Sequence[Line]:
        return logged(running_stack, "tweet", request_id)

    (line,) = await eventually(lines)
    assert len(line["trace_id"]) == 32
    assert line["trace_id"].strip("0")
