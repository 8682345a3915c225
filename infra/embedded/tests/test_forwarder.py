"""The address that is moved from one server to another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from embedded_stack.forwarder import LOOPBACK, Forwarder


@asynccontextmanager
async def greeting_server(name: str) -> AsyncIterator[int]:
    """A server that sends its name, then what it receives. Yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{name}\n".encode())
        try:
            while line := await reader.readline():
                writer.write(line)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def forwarding(target: Path) -> AsyncIterator[int]:
    """A forwarder. Yields its port."""
    forwarder = Forwarder(target)
    serving = asyncio.create_task(forwarder.serve(0))
    try:
        await asyncio.wait_for(forwarder.listening.wait(), 10)
        yield forwarder.port
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_moved_address_ends_connections_and_reaches_the_new_server(tmp_path: Path) -> None:
    target = tmp_path / "target"
    async with greeting_server("one") as one, greeting_server("two") as two:
        target.write_text(f"{one} close")
        async with forwarding(target) as port:
            async with connection(port) as (reader, writer):
                writer.write(b"hello\n")
                assert [await reader.readline(), await reader.readline()] == [b"one\n", b"hello\n"]
                target.write_text(f"{two} close")
                assert await reader.read() == b""
            async with connection(port) as (reader, _):
                assert await reader.readline() == b"two\n"


async def test_connections_can_stay_when_the_address_moves(tmp_path: Path) -> None:
    target = tmp_path / "target"
    async with greeting_server("one") as one, greeting_server("two") as two:
        target.write_text(f"{one} close")
        async with forwarding(target) as port, connection(port) as (reader, writer):
            assert await reader.readline() == b"one\n"
            target.write_text(f"{two} keep")
            async with asyncio.timeout(10):
                while await greeting(port) != b"two\n":
                    pass
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"


async def greeting(port: int) -> bytes:
    async with connection(port) as (reader, _):
        return await reader.readline()


async def test_connection_ends_if_no_server_listens_at_the_target(tmp_path: Path) -> None:
    async with greeting_server("gone") as port_of_gone:
        pass
    target = tmp_path / "target"
    target.write_text(f"{port_of_gone} close")
    async with forwarding(target) as port, connection(port) as (reader, _):
        assert await reader.read() == b""
