"""ASGI middleware of every service."""

import asyncio
import time
from urllib.parse import unquote_plus, unquote_to_bytes

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_kit.metrics import HttpMetrics
from service_kit.problems import (
    FieldError,
    PayloadTooLarge,
    Problem,
    UnsupportedMediaType,
    ValidationFailed,
    problem_response,
)
from service_kit.request_context import REQUEST_ID_HEADER, begin_request
from service_kit.trace_context import begin_span

log = structlog.get_logger(__name__)

# The gateway has the same limit (client_max_body_size in infra/gateway/templates).
MAX_BODY_BYTES = 1024 * 1024
# More than any list of parameters needs, and more than nginx accepts; each parameter costs time.
MAX_QUERY_BYTES = 16 * 1024
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_EVENT_STREAM = "text/event-stream"
_CREDENTIALS = frozenset({b"authorization", b"cookie"})


class RequestContextMiddleware:
    """Sets the request id and the trace of each request, logs it and records it in the metrics."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = begin_request(Headers(scope=scope).get(REQUEST_ID_HEADER))
        begin_span(scope["headers"])
        started = time.perf_counter()
        status = 500
        is_event_stream = False

        async def send_with_request_id(message: Message) -> None:
            nonlocal status, is_event_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                is_event_stream = headers.get("content-type", "").startswith(_EVENT_STREAM)
            await send(message)

        try:
            await self._app(scope, receive, send_with_request_id)
        finally:
            self._record(scope, status, time.perf_counter() - started, is_event_stream=is_event_stream)

    def _record(self, scope: Scope, status: int, seconds: float, *, is_event_stream: bool) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        # The duration of an event stream is not a latency.
        self._metrics.observe(scope["method"], route, status, None if is_event_stream else seconds)
        if scope["path"] not in PROBES:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_ms=round(seconds * 1000, 2),
                client=scope["client"][0] if scope.get("client") else None,
            )


class BodyLimitMiddleware:
    """Answers 413 to a body over `limit` bytes, with or without a Content-Length, before it is in memory.

    A compressed body, which could be much longer, gets 415.

    Starlette's `max_body_size` does not replace it: it answers a Content-Length over the limit as text/plain, not as
    problem+json.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        content_length = headers.get("content-length", "0")
        if content_length.isdigit() and int(content_length) > self._limit:
            await self._refuse(PayloadTooLarge(), scope, receive, send)
            return
        if headers.get("content-encoding", "identity").lower() != "identity":
            await self._refuse(UnsupportedMediaType(), scope, receive, send)
            return
        received = 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                # Of the errors in its parsing of bodies FastAPI raises only an HTTPException; others become a 400.
                raise HTTPException(PayloadTooLarge.status)
            return message

        await self._app(scope, counted_receive, send)

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response(Request(scope), problem)
        response.headers["Connection"] = "close"
        await response(scope, receive, send)


class HeadMiddleware:
    """Answers HEAD as GET, without the body (RFC 9110 §9.3.2). A stream ends with its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        is_sent = asyncio.Event()

        async def receive_until_sent() -> Message:
            await is_sent.wait()
            return {"type": "http.disconnect"}

        async def send_without_body(message: Message) -> None:
            # The server and the log see the method that was sent.
            scope["method"] = "HEAD"
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})
                is_sent.set()

        # Not in a copy: the router adds the route, which the metrics read.
        scope["method"] = "GET"
        try:
            await self._app(scope, receive_until_sent, send_without_body)
        finally:
            scope["method"] = "HEAD"


class NoStoreMiddleware:
    """Keeps answers to requests with a token or a cookie, which may be personal, out of caches (RFC 9111 §5.2.2.5)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _CREDENTIALS.isdisjoint(name for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return

        async def send_uncached(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, send_uncached)


class QueryTextMiddleware:
    """Answers 422 to a query string that is very long, has NUL or is not UTF-8, such as half of a surrogate pair.

    FastAPI would replace the bytes, so that the service would look for another text than the client sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope["query_string"] if scope["type"] == "http" else b""
        if len(query) > MAX_QUERY_BYTES:
            problem = ValidationFailed(f"The query has more than {MAX_QUERY_BYTES} bytes. Send fewer parameters.")
            await problem_response(Request(scope), problem)(scope, receive, send)
            return
        if (b"%" in query or not query.isascii()) and (wrong := _wrong_parameter(query)) is not None:
            detail = "The text has a NUL character or is not valid UTF-8."
            error = FieldError(detail=detail, code="string-unicode", parameter=wrong)
            problem = ValidationFailed(f"{wrong}: {detail}", errors=[error])
            await problem_response(Request(scope), problem)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _wrong_parameter(query: bytes) -> str | None:
    """The name of the first parameter that is not a text, or None."""
    for parameter in query.split(b"&"):
        raw = unquote_to_bytes(parameter)
        try:
            is_wrong = "\0" in raw.decode()
        except UnicodeDecodeError:
            is_wrong = True
        if is_wrong:
            name = unquote_plus(parameter.partition(b"=")[0].decode("ascii", "replace"))
            return name.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return None


class GatewayPrefixMiddleware:
    """Sets `root_path` to the path under which the gateway publishes the application.

    Only the configured prefix is accepted: with any other value of the header an attacker could choose where the
    documentation page sends a visitor's token.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefixed = scope["type"] == "http" and Headers(scope=scope).get("x-forwarded-prefix") == self._prefix
        if self._prefix and prefixed:
            scope = {**scope, "root_path": self._prefix, "path": self._prefix + scope["path"]}
        await self._app(scope, receive, send)
