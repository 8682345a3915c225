"""Clients of Server-Sent Events on plain sockets, which read only on request.

`python sse.py HOST PORT PATH COUNT` connects COUNT clients from a separate process. It prints one line when all are
connected, and one with the times (in seconds since the epoch) at which the first and the last client had its first
event. It ends when the server has ended all connections.
"""

import asyncio
import json
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Message:
    """`event` is empty if the message is not an event, like a heartbeat."""

    event: str
    data: Any
    id: str | None
    text: str


class Listener:
    """One connection. `last_id` is the id that a browser would send in `Last-Event-ID`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._rest = ""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.last_id: str | None = None

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        path: str,
        headers: dict[str, str] | None = None,
        buffer: int | None = None,
        *,
        source: str | None = None,
    ) -> Self:
        """Returns when the response headers have arrived.

        `buffer` limits the bytes received without a read, `source` is the client's own address, such as 127.0.0.2.
        """
        connection = socket.socket()
        connection.setblocking(False)
        if source is not None:
            connection.bind((source, 0))
        if buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=buffer or 2**16)
        listener = cls(reader, writer)
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        listener.status = int(head[0].split()[1])
        listener.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
        return listener

    async def message(self) -> Message | None:
        """The next message of any kind; None at the end."""
        while "\n\n" not in self._rest:
            try:
                size = int(await self._reader.readline() or b"0", 16)
                chunk = (await self._reader.readexactly(size + 2))[:-2] if size else b""
            except (ConnectionError, asyncio.IncompleteReadError):
                return None
            if not chunk:
                return None
            self._rest += chunk.decode()
        text, _, self._rest = self._rest.partition("\n\n")
        fields = dict(line.split(": ", 1) for line in text.splitlines() if not line.startswith(":"))
        self.last_id = fields.get("id", self.last_id)
        data = json.loads(fields["data"]) if "data" in fields else None
        return Message(fields.get("event", ""), data, fields.get("id"), text)

    async def event(self, within: float = 120) -> Message:
        """The next event."""
        async with asyncio.timeout(within):
            while True:
                message = await self.message()
                assert message is not None, "the stream has ended"
                if message.event:
                    return message

    async def body(self) -> Any:
        """The body of a response that is not a stream."""
        return json.loads(await self._reader.readexactly(int(self.headers["content-length"])))

    def close(self) -> None:
        self._writer.transport.abort()


async def listen(host: str, port: int, path: str, count: int) -> None:
    listeners = []
    for begin in range(0, count, 50):
        some = (Listener.connect(host, port, path) for _ in range(begin, min(begin + 50, count)))
        listeners += await asyncio.gather(*some)
    for listener in listeners:
        assert listener.status == 200
    print(json.dumps({"connected": len(listeners)}), flush=True)

    async def first_event(listener: Listener) -> float:
        await listener.event()
        return time.time()

    times = await asyncio.gather(*map(first_event, listeners))
    print(json.dumps({"first": min(times), "last": max(times)}), flush=True)

    async def end(listener: Listener) -> None:
        while await listener.message() is not None:
            pass
        listener.close()

    await asyncio.gather(*map(end, listeners))


if __name__ == "__main__":
    asyncio.run(listen(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
