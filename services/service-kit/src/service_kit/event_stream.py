"""Server-Sent Events (WHATWG HTML §9.2) to one client: an answer without end.

Where the events come from, and what somebody may have missed, is the business of a `Subscription`; here is when they
are sent, when the stream ends, and what happens to a client that does not read.
"""

import asyncio
import random
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from prometheus_client import Counter
from pydantic import Field
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service_kit.problems import ServiceUnavailable
from service_kit.schemas import ResponseBody
from service_kit.server import transport_of

# Those whom a restart has cut off don't come back in the same moment.
_RETRY_MILLISECONDS = (1000, 4000)
# Of a client that does not read, no more is kept in the kernel.
_SEND_BUFFER_BYTES = 32 * 1024
_CLOSING_SECONDS = 1.0


class TooManyStreams(ServiceUnavailable):
    code, title = "too-many-streams", "There are as many listeners as this process takes. Try again shortly."

    def __init__(self) -> None:
        super().__init__(retry_after_seconds=10)


class StreamEnded(Exception):  # noqa: N818 - an end, not always a fault
    """A stream is over: `code` and `title` say why, to the client too, or there is nothing to say."""

    def __init__(self, code: str | None = None, title: str = "") -> None:
        super().__init__(code or "at its end")
        self.code = code
        self.title = title


FINISHED = StreamEnded()
TOO_SLOW = StreamEnded("too-slow", "The client reads more slowly than events come in.")
UNAVAILABLE = StreamEnded(ServiceUnavailable.code, ServiceUnavailable.title)


class End(ResponseBody):
    """Why the stream ends before its time."""

    code: str = Field(examples=["too-slow"])
    title: str = Field(examples=["The client reads more slowly than events come in."])


class Subscription(ABC):
    """One who listens. `sending` is true while something is being sent, `on_cut` is called when he is cut off."""

    def __init__(self, dropped: Counter) -> None:
        self._dropped = dropped
        self._ended: StreamEnded | None = None
        self.sending = False
        self.on_cut: Callable[[], object] | None = None

    @abstractmethod
    async def begin(self) -> Sequence[bytes]:
        """Messages for a start. Raises problems that keep the stream from beginning."""

    def opening(self) -> bytes:
        """What goes before the first message, without an empty line behind it."""
        return b""

    @abstractmethod
    async def next(self) -> Sequence[bytes]:
        """The messages that come next; none after a heartbeat's time of silence. Raises `StreamEnded`."""

    def heartbeat(self) -> bytes:
        """What is sent then."""
        return b": heartbeat\n\n"

    def cut(self, why: StreamEnded) -> None:
        """End it at once; the first reason counts. `dropped` counts those who are too slow."""
        if self._ended is not None:
            return
        self._ended = why
        if why is TOO_SLOW:
            self._dropped.inc()
        self._wake()
        if self.on_cut is not None:
            self.on_cut()

    @abstractmethod
    def _wake(self) -> None:
        """Whoever waits in `next` looks again."""


def message(event: str, data: str, position: str | None = None) -> bytes:
    """An event; `data` has no line breaks. One without a position (`id`) leaves the place to resume."""
    place = "" if position is None else f"id: {position}\n"
    return f"{place}event: {event}\ndata: {data}\n\n".encode()


class EventStream(Response):
    """Sends what a subscription has: `limit` events at most, for `seconds` at most, and then ends `at_end`."""

    media_type = "text/event-stream"

    def __init__(
        self,
        subscription: AbstractAsyncContextManager[Subscription],
        *,
        limit: int | None,
        seconds: float,
        at_end: StreamEnded = FINISHED,
        headers: Mapping[str, str],
    ) -> None:
        self._subscription = subscription
        self._limit = limit
        self._seconds = seconds
        self._at_end = at_end
        self.status_code = 200
        self.background = None
        # The length is not known, so there is no body to begin with.
        own = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Connection": "close"}
        self.init_headers({**headers, **own})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises the problems that keep it from beginning."""
        loop = asyncio.get_running_loop()
        async with self._subscription as subscription:
            first = await subscription.begin()
            connection = _Connection(scope)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            writing = asyncio.create_task(self._write(first, subscription, send))
            leaving = asyncio.create_task(_client_leaves(receive))

            def on_cut() -> None:
                if subscription.sending:
                    # It does not get on, so there is nothing more to tell.
                    writing.cancel()
                else:
                    connection.close_soon()

            subscription.on_cut = on_cut
            timer = loop.call_later(self._seconds, subscription.cut, self._at_end)
            try:
                await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
                if writing.cancelled() and connection.break_off():
                    await leaving
            finally:
                timer.cancel()
                writing.cancel()
                leaving.cancel()
                (outcome, _) = await asyncio.gather(writing, leaving, return_exceptions=True)
                connection.close_soon()
        if isinstance(outcome, Exception):
            raise outcome

    async def _write(self, first: Sequence[bytes], subscription: Subscription, send: Send) -> None:
        async def write(text: bytes, *, more: bool = True) -> None:
            subscription.sending = True
            await send({"type": "http.response.body", "body": text, "more_body": more})
            subscription.sending = False

        left = self._limit if self._limit is not None else sys.maxsize
        last_words = b""
        retry = random.randint(*_RETRY_MILLISECONDS)  # noqa: S311 - no secret
        try:
            await write(f"retry: {retry}\n".encode() + subscription.opening() + b"\n")
            messages = first
            while left > 0:
                if messages:
                    await write(b"".join(messages[:left]))
                    left -= len(messages)
                    if left <= 0:
                        break
                messages = await subscription.next()
                if not messages:
                    await write(subscription.heartbeat())
        except StreamEnded as end:
            if end.code is not None:
                last_words = message("end", End(code=end.code, title=end.title).model_dump_json())
        await write(last_words, more=False)


async def _client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Connection:
    """What is below HTTP, if the server lets us see it.

    To close a connection in order is to wait until the client has read what is in its buffer, which he may never do.
    """

    def __init__(self, scope: Scope) -> None:
        self._transport = transport_of(scope)
        if self._transport is not None:
            connection = self._transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    def break_off(self) -> bool:
        """Could it be done?"""
        if self._transport is not None:
            self._transport.abort()
        return self._transport is not None

    def close_soon(self) -> None:
        """The answer is ended in order, and if that takes too long, out of order."""
        if self._transport is not None:
            asyncio.get_running_loop().call_later(_CLOSING_SECONDS, self._transport.abort)


def stream_response(example: str) -> dict[str, Any]:
    """OpenAPI of the answer 200, with an example of what is streamed."""
    return {
        "description": "Events until either side ends it.",
        "headers": {"Cache-Control": {"schema": {"type": "string"}, "example": "no-cache"}},
        "content": {EventStream.media_type: {"schema": {"type": "string"}, "example": example}},
    }
