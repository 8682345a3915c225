"""Runs a service under uvicorn."""

import asyncio
import gc
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service_kit.background import log_unhandled
from service_kit.logging import configure_logging
from service_kit.problems import NotFound, problem_response
from service_kit.settings import ServiceSettings
from service_kit.starting import starting_app

SHUTDOWN_SECONDS = 10
# More than a process ever opens; each connection is one.
OPEN_FILES = 65_536
# The exit code of `uvicorn.run` for a failed start.
STARTUP_FAILURE = 3
# The extension of an ASGI scope that has the connection.
TRANSPORT = "service_kit.transport"


def raise_limit_of_open_files() -> None:
    """To `OPEN_FILES`, as far as the hard limit permits it: Docker's soft limit may be 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(
    app: FastAPI,
    *,
    service: str,
    settings: ServiceSettings,
    before_start: Callable[[], Awaitable[None]] | None = None,
    before_shutdown: Callable[[], object] | None = None,
    on_hangup: Callable[[], object] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight get `SHUTDOWN_SECONDS` to finish.

    `/healthz` answers from the beginning. `before_start` prepares what the application needs. `before_shutdown` ends
    responses that would not end by themselves (event streams). `on_hangup` is called for each SIGHUP, which otherwise
    ends the process. Raises the errors of `before_start`.
    """
    configure_logging(service, settings.log_level)
    raise_limit_of_open_files()
    # Requests and batches of events allocate very many small objects without cycles. With Python's defaults the garbage
    # collector takes an eighth of the time. Modules loaded so far stay, so they are excluded from collection.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=_Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    metrics = None
    if settings.metrics_port is not None:
        # The lifespan is that of the application on the other port.
        metrics = uvicorn.Config(
            metrics_only(app),
            host=settings.host,
            port=settings.metrics_port,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
    server = _Server(config, before_start, before_shutdown, on_hangup, metrics)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def metrics_only(app: ASGIApp) -> ASGIApp:
    """The application without all paths but `/metrics`."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/metrics":
            await app(scope, receive, send)
        else:
            await problem_response(Request(scope), NotFound())(scope, receive, send)

    return application


def transport_of(scope: Scope) -> asyncio.Transport | None:
    """The connection of a request, for a response that may have to abort it. None outside of `serve`."""
    transport: asyncio.Transport | None = scope.get("extensions", {}).get(TRANSPORT, {}).get("transport")
    return transport


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        before_start: Callable[[], Awaitable[None]] | None,
        before_shutdown: Callable[[], object] | None,
        on_hangup: Callable[[], object] | None,
        metrics: uvicorn.Config | None,
    ) -> None:
        super().__init__(config)
        self._metrics = metrics
        self._metrics_server: asyncio.Server | None = None
        self._before_start = before_start
        self._preparation: asyncio.Future[None] | None = None
        self._before_shutdown = before_shutdown
        self._on_hangup = on_hangup

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._preparation is not None:
            self._preparation.get_loop().call_soon_threadsafe(self._preparation.cancel)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(log_unhandled)
        if self._on_hangup is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_hangup)
        listening = sockets or [self.config.bind_socket()]
        # Both servers accept connections of the same sockets, so that none is refused in between.
        async with AsyncExitStack() as answering:
            for each in listening:
                await answering.enter_async_context(_answering_that_it_starts(each.dup()))
            if self._before_start is not None:
                self._preparation = asyncio.ensure_future(self._before_start())
                try:
                    await self._preparation
                except asyncio.CancelledError:
                    if self.should_exit:
                        return
                    raise
                finally:
                    self._preparation = None
            await super().startup(listening)
        if self._metrics is not None:
            self._metrics_server = await _serving(self._metrics, self._metrics.bind_socket())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._before_shutdown is not None:
            self._before_shutdown()
        await super().shutdown(sockets)
        if self._metrics_server is not None:
            self._metrics_server.close()


@asynccontextmanager
async def _answering_that_it_starts(listening: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(starting_app, lifespan="off", log_config=None, access_log=False, server_header=False)
    server = await _serving(config, listening)
    try:
        yield
    finally:
        server.close()


async def _serving(config: uvicorn.Config, listening: socket.socket) -> asyncio.Server:
    """A further server in the same event loop."""
    config.load()
    state = ServerState()
    return await asyncio.get_running_loop().create_server(
        lambda: HttpToolsProtocol(config, state, app_state={}), sock=listening
    )


class _Protocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}
