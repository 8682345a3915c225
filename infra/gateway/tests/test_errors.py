"""Every error that nginx makes itself is a problem document."""

import asyncio
import json
import shutil
import socket
import ssl
from pathlib import Path

import pytest

from embedded_stack import Stack
from support.gateway import running_gateway
from support.ports import free_port

BIG = b"x" * 40_000
TOO_LONG = 1024 * 1024 + 1
HOST = b"Host: tandem.test\r\n"

# Name, the request without an empty line at its end, status, code.
REQUESTS = [
    ("unknown route", b"GET /api/nowhere HTTP/1.1\r\n" + HOST, 404, "not-found"),
    ("hidden route", b"GET /api/auth/metrics HTTP/1.1\r\n" + HOST, 404, "not-found"),
    ("missing file", b"GET /missing.js HTTP/1.1\r\n" + HOST, 404, "not-found"),
    ("unknown well-known address", b"GET /.well-known/webfinger HTTP/1.1\r\n" + HOST, 404, "not-found"),
    ("internal location", b"GET /.problem HTTP/1.1\r\n" + HOST, 404, "not-found"),
    ("TRACE", b"TRACE /api/auth/v1/login HTTP/1.1\r\n" + HOST, 405, "method-not-allowed"),
    ("CONNECT", b"CONNECT tandem.test:443 HTTP/1.1\r\n" + HOST, 405, "method-not-allowed"),
    ("method of a page", b"DELETE / HTTP/1.1\r\n" + HOST, 405, "method-not-allowed"),
    ("unknown method", b"BREW / HTTP/1.1\r\n" + HOST, 405, "method-not-allowed"),
    ("malformed escape", b"GET /%zz HTTP/1.1\r\n" + HOST, 400, "bad-request"),
    ("path above the root", b"GET /../.. HTTP/1.1\r\n" + HOST, 400, "bad-request"),
    ("malformed request line", b"GARBAGE\r\n" + HOST, 400, "bad-request"),
    ("lower-case method", b"get / HTTP/1.1\r\n" + HOST, 400, "bad-request"),
    ("no Host", b"GET / HTTP/1.1\r\n", 400, "bad-request"),
    ("malformed Host", b"GET / HTTP/1.1\r\nHost: a/b\r\n", 400, "bad-request"),
    ("NUL in a header", b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n", 400, "bad-request"),
    ("two lengths", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n", 400, "bad-request"),
    (
        "length and chunks",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        400,
        "bad-request",
    ),
    (
        "malformed chunk",
        b"POST /api/auth/v1/login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        400,
        "bad-request",
    ),
    (
        "length over the limit",
        b"POST /api/auth/v1/login HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n" % TOO_LONG,
        413,
        "payload-too-large",
    ),
    (
        "length over the limit, unknown route",
        b"POST /api/nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n" % TOO_LONG,
        413,
        "payload-too-large",
    ),
    (
        "chunk over the limit",
        b"POST /api/auth/v1/login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % TOO_LONG,
        413,
        "payload-too-large",
    ),
    ("long URI", b"GET /api/auth/" + BIG + b" HTTP/1.1\r\n" + HOST, 414, "uri-too-long"),
    ("long header", b"GET / HTTP/1.1\r\n" + HOST + b"X: " + BIG + b"\r\n", 431, "request-header-fields-too-large"),
    (
        "many headers",
        b"GET /api/nowhere HTTP/1.1\r\n" + HOST + b"X: 1\r\n" * 10_000,
        431,
        "request-header-fields-too-large",
    ),
    ("other version of a file", b"GET / HTTP/1.1\r\n" + HOST + b'If-Match: "x"\r\n', 412, "precondition-failed"),
    (
        "transfer encoding",
        b"POST /api/auth/v1/login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n",
        501,
        "not-implemented",
    ),
    ("HTTP/2 in clear", b"PRI * HTTP/2.0\r\n", 400, "bad-request"),
    ("HTTP/3", b"GET / HTTP/3.0\r\n" + HOST, 505, "http-version-not-supported"),
]


def require_problem(status: int, headers: dict[str, str], body: bytes, expected: int, code: str) -> None:
    assert (status, headers["content-type"]) == (expected, "application/problem+json")
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (expected, code)
    assert problem["type"] == f"urn:tandem:problem:{code}"
    assert problem["title"] == problem["detail"] != ""
    assert problem["request_id"] == headers["x-request-id"]
    assert problem["instance"].startswith("/")
    assert headers["x-content-type-options"] == "nosniff"
    assert ("allow" in headers) == (expected == 405)
    assert ("retry-after" in headers) == (expected in (429, 503))


async def test_rejected_requests_get_problems(stack: Stack, tmp_path: Path) -> None:
    async with running_gateway(stack, tmp_path) as gateway:
        for name, request, status, code in REQUESTS:
            answered, headers, body = await gateway.exchange(request + b"\r\n")
            assert answered == status, name
            require_problem(answered, headers, body, status, code)


async def test_head_gets_the_headers_of_the_problem_alone(stack: Stack, tmp_path: Path) -> None:
    async with running_gateway(stack, tmp_path) as gateway:
        tried = [each for each in REQUESTS if each[1].startswith(b"GET ") and each[2] != 412]
        assert len(tried) > 10
        for name, request, status, code in tried:
            _, by_get, whole = await gateway.exchange(request + b"Connection: close\r\n\r\n")
            by_head = b"HEAD" + request.removeprefix(b"GET") + b"Connection: close\r\n\r\n"
            answered, headers, body = await gateway.exchange(by_head)
            assert (answered, body) == (status, b""), name
            different = {"date", "x-request-id"}
            assert {each: headers.get(each) for each in by_get.keys() - different} == {
                each: by_get[each] for each in by_get.keys() - different
            }, name
            assert code in whole.decode()


async def test_plain_http_server_answers_tls_with_a_problem(stack: Stack, tmp_path: Path) -> None:
    hello = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="tandem.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    async with running_gateway(stack, tmp_path) as gateway:
        require_problem(*await gateway.exchange(hello.read()), 400, "bad-request")


async def test_path_in_a_problem_is_never_text_of_the_client_that_json_must_escape(
    stack: Stack, tmp_path: Path
) -> None:
    async with running_gateway(stack, tmp_path) as gateway:
        for path, instance in ((b'/api/a"b', "/api/a"), (b"/api/\xc3\xbc", "/api/"), (b"/api/a?b=c", "/api/a")):
            _, _, body = await gateway.exchange(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")
            assert json.loads(body)["instance"] == instance


LOGIN = b"POST /api/auth/v1/login HTTP/1.1\r\n" + HOST


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n"])
async def test_service_that_fails_is_a_503(stack: Stack, tmp_path: Path, answer: bytes) -> None:
    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with running_gateway(stack, tmp_path, service) as gateway:
        require_problem(*await gateway.exchange(LOGIN + b"\r\n"), 503, "service-unavailable")


async def test_service_that_refuses_connections_is_a_503(stack: Stack, tmp_path: Path) -> None:
    settings = {"AUTH_UPSTREAM": f"127.0.0.1:{free_port()}"}
    async with running_gateway(stack, tmp_path, settings=settings) as gateway:
        require_problem(*await gateway.exchange(LOGIN + b"\r\n"), 503, "service-unavailable")


async def test_service_that_accepts_no_connection_in_time_is_a_504(stack: Stack, tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        # The kernel drops further connections while its queue is full.
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(deaf.getsockname())
        settings = {"AUTH_UPSTREAM": "{}:{}".format(*deaf.getsockname())}
        try:
            async with running_gateway(stack, tmp_path, settings=settings) as gateway:
                require_problem(*await gateway.exchange(LOGIN + b"\r\n"), 504, "gateway-timeout")
        finally:
            for each in waiting:
                each.close()


async def test_body_that_can_not_be_stored_is_a_500(stack: Stack, tmp_path: Path) -> None:
    body = b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000
    async with running_gateway(stack, tmp_path) as gateway:
        shutil.rmtree(gateway.folder / "temp-body")
        status, headers, content = await gateway.exchange(LOGIN + body)
        require_problem(status, headers, content, 500, "internal-error")
