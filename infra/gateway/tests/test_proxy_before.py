"""The gateway trusts forwarded headers of the configured proxy only."""

import asyncio
import socket
import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from embedded_stack import Stack
from embedded_stack.components.gateway import TEMPLATES, nginx
from support.polling import eventually

CLAIMED = {"X-Forwarded-For": "198.51.100.7, 192.0.2.1", "X-Forwarded-Proto": "https"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def echo_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A service that answers with the head of the request."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))
    await writer.drain()
    writer.close()
    await writer.wait_closed()


@asynccontextmanager
async def gateway(stack: Stack, folder: Path, trusted: str) -> AsyncIterator[httpx.AsyncClient]:
    """nginx with the real template in front of that service."""
    stack.components["gateway"].fetch()
    service = await asyncio.start_server(echo_headers, "127.0.0.1", 0)
    upstream = "{}:{}".format(*service.sockets[0].getsockname())
    port = free_port()
    values = {
        "GATEWAY_LISTEN": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "GATEWAY_STATE": str(folder),
        "GATEWAY_RESOLVER": "127.0.0.1",
        "GATEWAY_UPSTREAM_OPTIONS": "",
        "GATEWAY_TRUSTED_PROXY": trusted,
        "WEB_ROOT": str(folder),
        **dict.fromkeys(("AUTH_UPSTREAM", "TWEET_UPSTREAM", "SYNC_UPSTREAM"), upstream),
    }
    for name in ("conf.d", "logs", "temp"):
        (folder / name).mkdir()
    for template, written in (
        ("nginx.conf.template", "nginx.conf"),
        ("templates/default.conf.template", "conf.d/default.conf"),
    ):
        (folder / written).write_text(string.Template((TEMPLATES / template).read_text()).safe_substitute(values))
    program = [*nginx(stack.configuration.cache), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    process = await asyncio.create_subprocess_exec(*program, "-g", "daemon off; master_process off;")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def is_up() -> bool:
                try:
                    return (await client.get("/healthz")).is_success
                except httpx.TransportError:
                    return False

            await eventually(is_up)
            yield client
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        service.close()
        await service.wait_closed()


def headers_of(answer: httpx.Response) -> dict[str, str]:
    lines = answer.text.strip().splitlines()[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@pytest.mark.parametrize(
    ("trusted", "address", "scheme"),
    [
        ("0.0.0.0/32", "127.0.0.1", "http"),
        # The last address before the trusted proxy is used, and no earlier one.
        ("127.0.0.0/8", "192.0.2.1", "https"),
    ],
)
async def test_forwarded_headers_are_trusted_from_the_configured_proxy_only(
    stack: Stack, tmp_path: Path, trusted: str, address: str, scheme: str
) -> None:
    async with gateway(stack, tmp_path, trusted) as client:
        received = headers_of(await client.get("/api/auth/v1/users/me", headers=CLAIMED))
        assert (received["x-forwarded-for"], received["x-forwarded-proto"]) == (address, scheme)
        received = headers_of(await client.get("/api/auth/v1/users/me"))
        assert (received["x-forwarded-for"], received["x-forwarded-proto"]) == ("127.0.0.1", "http")
