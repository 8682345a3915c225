"""One client can't take the gateway from others, with whatever connections and requests it opens."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from embedded_stack import Stack
from embedded_stack.components.gateway import DEFAULTS, TEMPLATES
from support.gateway import RunningGateway, running_gateway
from support.polling import eventually
from support.responses import problem

ATTACKER, OTHER = "127.0.0.1", "127.0.0.2"
CONNECTIONS, REQUESTS = 60, 30
FEW = {"GATEWAY_CONNECTIONS_PER_CLIENT": str(CONNECTIONS), "GATEWAY_REQUESTS_PER_CLIENT": str(REQUESTS)}
HEAD = b"GET /api/tweets/v1/stream HTTP/1.1\r\nHost: tandem.test\r\n"
# More than all buffers between a service and a client that does not read.
LARGE = 8 * 1024 * 1024


class Connection:
    """A connection of the attacker. The gateway has refused it if it has closed it, or answered with a 429."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._first = asyncio.create_task(self._read(reader))

    @property
    def is_open(self) -> bool:
        return not self._first.done() or self._first.result() not in (b"", b"HTTP/1.1 429")

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.read(12)
        except ConnectionError:
            return b""

    def stop_reading(self) -> None:
        self._first.cancel()


async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """`/v1/stream` never ends, `/v1/export` is large, and everything else is short."""
    try:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        if path == b"/v1/stream":
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n\r\n: open\n\n"
            )
            await reader.read()
        elif path == b"/v1/export":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE + b"x" * LARGE)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def connections(gateway: RunningGateway, number: int, sent: bytes) -> AsyncIterator[list[Connection]]:
    """So many connections of the attacker, on each of which these bytes were sent."""
    async with AsyncExitStack() as opened:
        made = []
        for _ in range(number):
            reader, writer = await gateway.connect(ATTACKER)
            opened.callback(writer.close)
            writer.write(sent)
            made.append(Connection(reader))
            opened.callback(made[-1].stop_reading)
        yield made


async def open_become(made: list[Connection], number: int) -> None:
    """Wait until the gateway has refused all but so many of these."""

    async def open_ones() -> int:
        return sum(each.is_open for each in made)

    await eventually(open_ones, lambda seen: seen == number)


ATTACKS = {
    "silent connections": (b"", CONNECTIONS),
    "slow headers": (b"GET /api/tweets/v1/tweets HTTP/1.1\r\nHost: tandem.test\r\nX-Slow: ", CONNECTIONS),
    "event streams": (HEAD + b"\r\n", REQUESTS),
    "slow bodies": (
        b"POST /api/auth/v1/login HTTP/1.1\r\nHost: tandem.test\r\nContent-Length: 5000\r\n\r\n{",
        REQUESTS,
    ),
    "slow readers": (b"GET /api/auth/v1/export HTTP/1.1\r\nHost: tandem.test\r\n\r\n", REQUESTS),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_one_address_has_limits_and_another_one_is_served(stack: Stack, tmp_path: Path, attack: str) -> None:
    sent, most = ATTACKS[attack]
    async with (
        running_gateway(stack, tmp_path, service, settings=FEW) as gateway,
        connections(gateway, 3 * CONNECTIONS, sent) as made,
    ):
        await open_become(made, most)
        async with gateway.client(OTHER) as other:
            for path in ("/", "/api/tweets/v1/tweets", "/api/auth/v1/users/me"):
                assert (await other.get(path)).status_code == 200
            async with other.stream("GET", "/api/tweets/v1/stream") as stream:
                assert await anext(stream.aiter_raw()) == b": open\n\n"
        # It has refused no more of them since.
        assert sum(each.is_open for each in made) == most
    assert list((gateway.folder / "temp-proxy").iterdir()) == []


async def test_requests_over_the_limit_are_429_problems_until_one_ends(stack: Stack, tmp_path: Path) -> None:
    async with (
        running_gateway(stack, tmp_path, service, settings=FEW) as gateway,
        gateway.client(ATTACKER) as client,
    ):
        async with connections(gateway, REQUESTS, HEAD + b"\r\n") as made:
            await open_become(made, REQUESTS)
            for path in ("/api/tweets/v1/tweets", "/"):
                # A connection is open before nginx has read its request.
                refused = await eventually(partial(client.get, path), lambda answer: answer.status_code == 429)
                assert problem(refused) == (429, "too-many-requests")
                assert int(refused.headers["retry-after"]) > 0
            head = await client.head("/api/tweets/v1/tweets")
            assert (head.status_code, head.content) == (429, b"")
            # Health checks of a container are cheap, and must not depend on clients.
            assert (await client.get("/healthz")).status_code == 200

        async def served() -> int:
            return (await client.get("/api/tweets/v1/tweets")).status_code

        await eventually(served, lambda status: status == 200)


async def test_large_bodies_have_a_limit_of_their_own(stack: Stack, tmp_path: Path) -> None:
    request = b"POST /api/auth/v1/login HTTP/1.1\r\nHost: tandem.test\r\n"
    for size in (b"Content-Length: 1000000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"):
        (folder := tmp_path / size[:1].decode()).mkdir()
        async with (
            running_gateway(stack, folder, service) as gateway,
            connections(gateway, 130, request + size) as made,
        ):
            await open_become(made, 20)
            async with gateway.client(ATTACKER) as same, gateway.client(OTHER) as other:
                assert problem(await same.post("/api/auth/v1/login", content=b"x" * 10_000))[0] == 429
                assert (await same.post("/api/auth/v1/login", content=b"x" * 9_999)).status_code == 200
                assert (await other.post("/api/auth/v1/login", content=b"x" * 10_000)).status_code == 200


SAME = [
    ("192.0.2.1", "192.0.2.1"),
    ("192.0.2.1", "::ffff:192.0.2.1"),
    ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8::a0a:0"),
]
DIFFERENT = [
    ("192.0.2.1", "192.0.2.2"),
    ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),
    ("2001:db8:0:1::1", "2001:db8:0:2::1"),
    ("2001:db8::1", "192.0.2.1"),
]


@pytest.mark.parametrize(("attacker", "other"), [*SAME, *DIFFERENT])
async def test_client_is_the_address_or_ipv6_network_that_the_trusted_proxy_names(
    stack: Stack, tmp_path: Path, attacker: str, other: str
) -> None:
    proxied = {**FEW, "GATEWAY_TRUSTED_PROXY": "127.0.0.1/32"}
    sent = HEAD + b"X-Forwarded-For: " + attacker.encode() + b"\r\n\r\n"
    async with (
        running_gateway(stack, tmp_path, service, settings=proxied) as gateway,
        # All clients' connections are the proxy's, so their number has no limit.
        connections(gateway, CONNECTIONS + 20, sent) as made,
        gateway.client() as client,
    ):
        await open_become(made, REQUESTS)
        answer = await client.get("/api/tweets/v1/tweets", headers={"X-Forwarded-For": other})
        assert answer.status_code == (429 if (attacker, other) in SAME else 200)


async def test_header_of_a_client_that_is_no_proxy_changes_nothing(stack: Stack, tmp_path: Path) -> None:
    async with running_gateway(stack, tmp_path, service, settings=FEW) as gateway, AsyncExitStack() as opened:
        made = []
        for number in range(REQUESTS + 5):
            claimed = HEAD + f"X-Forwarded-For: 192.0.2.{number}\r\n\r\n".encode()
            made += await opened.enter_async_context(connections(gateway, 1, claimed))
        await open_become(made, REQUESTS)


async def test_limits_leave_room_for_a_browser_and_for_an_office(stack: Stack, tmp_path: Path) -> None:
    """With the defaults: six connections for each of 50 browsers of one address, four of them event streams."""

    async def browse(gateway: RunningGateway) -> None:
        async with gateway.client() as client, AsyncExitStack() as streams:
            for _ in range(4):
                stream = await streams.enter_async_context(client.stream("GET", "/api/tweets/v1/stream"))
                assert stream.status_code == 200
            answers = await asyncio.gather(*(client.get("/api/tweets/v1/tweets") for _ in range(2)))
            assert {answer.status_code for answer in answers} == {200}

    async with running_gateway(stack, tmp_path, service) as gateway:
        await asyncio.gather(*(browse(gateway) for _ in range(50)))


def test_one_client_can_take_a_small_part_of_the_connections() -> None:
    """A request takes two connections, that of the client and one to a service. At worst one worker has them all."""
    main = (TEMPLATES / "nginx.conf.template").read_text()
    (connections,) = map(int, re.findall(r"worker_connections (\d+);", main))
    (files,) = map(int, re.findall(r"worker_rlimit_nofile (\d+);", main))
    taken = int(DEFAULTS["GATEWAY_CONNECTIONS_PER_CLIENT"]) + int(DEFAULTS["GATEWAY_REQUESTS_PER_CLIENT"])
    assert taken * 5 < connections < files
