"""Pure ASGI middleware around every service."""

import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_kit.metrics import HttpMetrics
from service_kit.problems import PayloadTooLarge, problem_response
from service_kit.request_context import REQUEST_ID_HEADER, begin_request
from service_kit.trace_context import begin_span

log = structlog.get_logger(__name__)

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_ENDLESS = "text/event-stream"


class RequestContextMiddleware:
    """Gives the request its id and its span, writes the access log line and counts it in the metrics."""

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
        is_endless = False

        async def send_with_request_id(message: Message) -> None:
            nonlocal status, is_endless
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                is_endless = headers.get("content-type", "").startswith(_ENDLESS)
            await send(message)

        try:
            await self._app(scope, receive, send_with_request_id)
        finally:
            self._record(scope, status, time.perf_counter() - started, is_endless=is_endless)

    def _record(self, scope: Scope, status: int, seconds: float, *, is_endless: bool) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        # How long somebody listened is no latency.
        self._metrics.observe(scope["method"], route, status, None if is_endless else seconds)
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
    """Answers 413 to a body over `limit` bytes, announced or streamed, before it is held in memory."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdigit() and int(announced) > self._limit:
            await self._refuse(scope, receive, send)
            return
        received = 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                # FastAPI lets an HTTPException out of its body parsing as it is; another error becomes a 400.
                raise HTTPException(PayloadTooLarge.status)
            return message

        await self._app(scope, counted_receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response(Request(scope), PayloadTooLarge())
        response.headers["Connection"] = "close"
        await response(scope, receive, send)


class GatewayPrefixMiddleware:
    """Tells the application that it is published under a path of the gateway.

    Only the configured prefix is believed: the header could otherwise steer where the documentation page sends
    a visitor's token.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefixed = scope["type"] == "http" and Headers(scope=scope).get("x-forwarded-prefix") == self._prefix
        if self._prefix and prefixed:
            scope = {**scope, "root_path": self._prefix, "path": self._prefix + scope["path"]}
        await self._app(scope, receive, send)
