"""The gateway on its own: nginx with the real templates, before services of the test."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from embedded_stack import Stack
from embedded_stack.components.gateway import nginx_command, write_configuration
from support.polling import eventually
from support.ports import free_port

Service = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

INDEX = "<!doctype html><title>Tandem</title>"


@dataclass(frozen=True)
class RunningGateway:
    """`folder` is its state, `web` its files."""

    port: int
    folder: Path
    web: Path

    @asynccontextmanager
    async def client(self, address: str = "127.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
        """A client with this address, which must be one of the loopback interface."""
        transport = httpx.AsyncHTTPTransport(local_address=address, verify=False)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", transport=transport, timeout=60
        ) as client:
            yield client

    async def connect(self, address: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of a client with this address."""
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))

    async def exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send these bytes; returns status, headers (names in lower case) and body.

        To a HEAD, which must ask for the end of the connection, everything after the headers is the body.
        """
        reader, writer = await self.connect()
        try:
            writer.write(request)
            await writer.drain()
            async with asyncio.timeout(120):
                head = await reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode().strip().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                is_head = request.startswith(b"HEAD ")
                body = await (reader.read() if is_head else reader.readexactly(int(headers["content-length"])))
        finally:
            writer.close()
        return int(first.split()[1]), headers, body


async def answer_with_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A service that answers with the head of the request."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))
    await writer.drain()
    writer.close()


def _wait_for_clients(configuration: Path) -> None:
    """On a busy machine the clients of a test are slow; that must not end their connections."""
    limits = re.compile(r"(client_header_timeout|client_body_timeout|send_timeout) \d+s;")
    patient, count = limits.subn(r"\1 600s;", configuration.read_text())
    assert count == 3
    configuration.write_text(patient)


@asynccontextmanager
async def running_gateway(
    stack: Stack,
    folder: Path,
    service: Service = answer_with_head,
    *,
    before: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[RunningGateway]:
    """nginx before one service in the place of all. `before` are programs that start nginx (`setpriv …`)."""
    stack.components["gateway"].fetch()
    web = folder / "web"
    web.mkdir()
    (web / "index.html").write_text(INDEX)
    # Connections of all clients of a test may wait for this process to accept them.
    server = await asyncio.start_server(service, "127.0.0.1", 0, backlog=1024)
    upstream = "{}:{}".format(*server.sockets[0].getsockname())
    port = free_port()
    values = {
        "GATEWAY_LISTEN": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "GATEWAY_INTERNAL_PORT": str(free_port()),
        "WEB_ROOT": str(web),
        **dict.fromkeys(("AUTH_UPSTREAM", "TWEET_UPSTREAM", "SYNC_UPSTREAM"), upstream),
        **(settings or {}),
    }
    write_configuration(folder, values)
    _wait_for_clients(folder / "conf.d" / "default.conf")
    command = nginx_command(stack.configuration.cache, folder)
    process = await asyncio.create_subprocess_exec(*before, *command)
    gateway = RunningGateway(port, folder, web)
    try:
        # It may count as a connection for a moment after it was closed, and must not be one of the test's.
        async with gateway.client("127.255.255.254") as client:

            async def is_up() -> bool:
                assert process.returncode is None, "nginx has ended"
                return (await client.get("/healthz")).is_success

            await eventually(is_up)
        yield gateway
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        server.close()
