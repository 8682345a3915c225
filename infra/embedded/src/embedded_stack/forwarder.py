"""Forwards TCP connections to a port of this machine: `python -m embedded_stack.forwarder PORT FILE`.

The file has the port of the target, and `close` or `keep`: what becomes of open connections when the target changes.
They end when an IP address moves to another server. When a name leads to another server, they stay.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 0.05
_CHUNK_BYTES = 64 * 1024


class Forwarder:
    """`port` is where it listens, once `listening` is set."""

    def __init__(self, target: Path) -> None:
        self.port = 0
        self.listening = asyncio.Event()
        self._file = target
        self._target = _read(target)[0]
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, port: int) -> None:
        """Forward until it is cancelled. Port 0: any free one."""
        server = await asyncio.start_server(self._accept, LOOPBACK, port)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            self.listening.set()
            while True:
                await asyncio.sleep(_POLL_SECONDS)
                target, closes = _read(self._file)
                if target != self._target:
                    self._target = target
                    for connection in self._connections if closes else ():
                        connection.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        forwarding = asyncio.ensure_future(self._forward(reader, writer))
        self._connections.add(forwarding)
        # Cancelled: the address has moved. An `OSError`: the target or the client is gone.
        await asyncio.wait([forwarding])
        self._connections.discard(forwarding)
        writer.transport.abort()
        if not forwarding.cancelled() and (error := forwarding.exception()) and not isinstance(error, OSError):
            raise error

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(LOOPBACK, self._target)
        try:
            copies = {asyncio.ensure_future(_copy(reader, to_writer)), asyncio.ensure_future(_copy(to_reader, writer))}
            try:
                await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for copy in copies:
                    copy.cancel()
                await asyncio.gather(*copies, return_exceptions=True)
            with contextlib.suppress(OSError):
                await writer.drain()
        finally:
            to_writer.transport.abort()


def _read(file: Path) -> tuple[int, bool]:
    """The port of the target, and whether connections to the former one are closed."""
    port, connections = file.read_text().split()
    return int(port), connections == "close"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()


def main() -> None:
    port, target = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Forwarder(Path(target)).serve(int(port)))


if __name__ == "__main__":
    main()
