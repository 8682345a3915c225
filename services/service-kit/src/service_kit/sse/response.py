"""The HTTP response that sends the events of a subscription.

It decides when events are sent, when the stream ends, and what happens to a client that does not read.
"""

import asyncio
import random
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service_kit.problems import Problem, ServiceUnavailable
from service_kit.server import transport_of
from service_kit.sse.events import FINISHED, TOKEN_EXPIRED, UNAVAILABLE, StreamEnded, end_message
from service_kit.sse.hub import Subscription

# Random, so that clients that a restart has disconnected do not return at the same time.
_RETRY_MILLISECONDS = (1000, 4000)
# Limits the data that the kernel keeps for a client that does not read.
_SEND_BUFFER_BYTES = 32 * 1024
_CLOSE_SECONDS = 1.0
REAUTHORIZE_SECONDS = 2.0
_BATCH_SECONDS = 0.1


@dataclass(frozen=True)
class StreamToken:
    """The access token that a stream was opened with.

    It expires after `seconds`. `reauthorize` raises `Problem` if the token may not be used any more.
    """

    seconds: float
    reauthorize: Callable[[], Awaitable[None]]


class EventStream(Response):
    """Sends the events of a subscription: `limit` events at most, for `seconds` at most, while the token is valid.

    The token is checked every `REAUTHORIZE_SECONDS`, whether there are events or not. After `ServiceUnavailable` and
    the errors in `unavailable_on` the stream stays: the next check decides.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        subscription: AbstractAsyncContextManager[Subscription[Any]],
        *,
        limit: int | None,
        seconds: float | None,
        token: StreamToken | None = None,
        unavailable_on: tuple[type[Exception], ...] = (),
        headers: Mapping[str, str],
    ) -> None:
        self._subscription = subscription
        self._limit = limit
        self._seconds = seconds
        self._token = token
        self._unavailable: tuple[type[Exception], ...] = (ServiceUnavailable, *unavailable_on)
        self.status_code = 200
        self.background = None
        # `Response.__init__` is not called: it would set a Content-Length.
        own = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Connection": "close"}
        self.init_headers({**headers, **own})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises problems that refuse the stream."""
        loop = asyncio.get_running_loop()
        async with self._subscription as subscription:
            first = await subscription.begin()
            connection = _Connection(scope)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            writing = asyncio.create_task(self._write(first, subscription, send))
            leaving = asyncio.create_task(_disconnected(receive))
            checking = asyncio.create_task(self._check_token(subscription))

            def on_cut() -> None:
                if subscription.sending:
                    # The client does not read, so no reason can be sent.
                    writing.cancel()
                else:
                    connection.close_soon()

            subscription.on_cut = on_cut
            timers = [loop.call_later(seconds, subscription.cut, end) for seconds, end in self._ends()]
            try:
                await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
                if writing.cancelled() and connection.abort():
                    await leaving
            finally:
                for timer in timers:
                    timer.cancel()
                for task in (writing, leaving, checking):
                    task.cancel()
                (outcome, _, check) = await asyncio.gather(writing, leaving, checking, return_exceptions=True)
                connection.close_soon()
        for error in (outcome, check):
            if isinstance(error, Exception):
                raise error

    def _ends(self) -> Iterator[tuple[float, StreamEnded]]:
        if self._seconds is not None:
            yield self._seconds, FINISHED
        if self._token is not None:
            yield self._token.seconds, TOKEN_EXPIRED

    async def _write(self, first: Sequence[bytes], subscription: Subscription[Any], send: Send) -> None:
        async def write(text: bytes, *, more: bool = True) -> None:
            subscription.sending = True
            await send({"type": "http.response.body", "body": text, "more_body": more})
            subscription.sending = False

        left = self._limit if self._limit is not None else sys.maxsize
        last_message = b""
        retry = random.randint(*_RETRY_MILLISECONDS)  # noqa: S311 - not a secret
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
            last_message = end_message(end)
        await write(last_message, more=False)

    async def _check_token(self, subscription: Subscription[Any]) -> None:
        """End the stream when the token may not be used any more, or when an unexpected error leaves that open."""
        while self._token is not None:
            await next_check()
            try:
                await self._token.reauthorize()
            except self._unavailable:
                continue
            except Problem as problem:
                subscription.cut(StreamEnded(problem.code, problem.title))
                return
            except Exception:
                subscription.cut(UNAVAILABLE)
                raise


async def next_check() -> None:
    """Wait for `REAUTHORIZE_SECONDS`, or a little less.

    Streams that are checked in one turn of the event loop share a query (tweet-service's `batching`).
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + REAUTHORIZE_SECONDS
    reached = loop.create_future()
    timer = loop.call_at(due - due % _BATCH_SECONDS, _release, reached)
    try:
        await reached
    finally:
        timer.cancel()


def _release(waiting: "asyncio.Future[None]") -> None:
    # A stream that ends in this turn of the event loop has cancelled it.
    if not waiting.done():
        waiting.set_result(None)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Connection:
    """The transport of the connection, if the server gives access to it.

    An orderly close waits until the client has read the buffered data, which may never happen.
    """

    def __init__(self, scope: Scope) -> None:
        self._transport = transport_of(scope)
        # A client that has left already has no socket.
        if self._transport is not None and not self._transport.is_closing():
            connection = self._transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    def abort(self) -> bool:
        """Close immediately. Returns False without access to the transport."""
        if self._transport is not None:
            self._transport.abort()
        return self._transport is not None

    def close_soon(self) -> None:
        """Close the connection if the response has not ended by then."""
        if self._transport is not None:
            asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._transport.abort)


def stream_response(example: str) -> dict[str, Any]:
    """OpenAPI description of the 200 response, with an example."""
    return {
        "description": "Events, until the client or the server ends the stream.",
        "headers": {"Cache-Control": {"schema": {"type": "string"}, "example": "no-cache"}},
        "content": {EventStream.media_type: {"schema": {"type": "string"}, "example": example}},
    }
