"""The answer without end: Server-Sent Events to one client."""

import asyncio
import random
import socket
import sys
from collections.abc import Mapping, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service_kit.server import transport_of
from tweet_service.stream.events import StreamEvent, Wanted, farewell, heartbeat, opening
from tweet_service.stream.hub import Hub, Subscription
from tweet_service.stream.problems import FINISHED, StreamEnded
from tweet_service.stream.schemas import End

# Those whom a restart has cut off don't come back in the same moment.
_RETRY_MILLISECONDS = (1000, 4000)
# Of a client that does not read, no more is kept in the kernel.
_SEND_BUFFER_BYTES = 32 * 1024
_CLOSING_SECONDS = 1.0


class EventStream(Response):
    """Sends what is wanted from `behind` on: `limit` events at most, for `seconds` at most."""

    media_type = "text/event-stream"

    def __init__(
        self,
        hub: Hub,
        wanted: Wanted,
        *,
        behind: str | None,
        limit: int | None,
        seconds: float | None,
        headers: Mapping[str, str],
    ) -> None:
        self._hub = hub
        self._wanted = wanted
        self._behind = behind
        self._limit = limit
        self._seconds = min(seconds or hub.limits.seconds, hub.limits.seconds)
        self.status_code = 200
        self.background = None
        # The length is not known, so there is no body to begin with.
        own = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Connection": "close"}
        self.init_headers({**headers, **own})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises the problems that keep it from beginning."""
        loop = asyncio.get_running_loop()
        async with self._hub.subscription(self._wanted) as subscription:
            first = await subscription.begin(self._behind)
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
            timer = loop.call_later(self._seconds, subscription.cut, FINISHED)
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

    async def _write(self, first: Sequence[StreamEvent], subscription: Subscription, send: Send) -> None:
        async def write(text: bytes, *, more: bool = True) -> None:
            subscription.sending = True
            await send({"type": "http.response.body", "body": text, "more_body": more})
            subscription.sending = False

        left = self._limit if self._limit is not None else sys.maxsize
        last_words = b""
        try:
            await write(opening(self._behind or subscription.position, random.randint(*_RETRY_MILLISECONDS)))  # noqa: S311 - no secret
            events = first
            while left > 0:
                if events:
                    await write(b"".join(event.text for event in events[:left]))
                    left -= len(events)
                    if left <= 0:
                        break
                events = await subscription.next()
                if not events:
                    await write(heartbeat(subscription.position))
        except StreamEnded as end:
            if end.code is not None:
                last_words = farewell(End(code=end.code, title=end.title).model_dump_json())
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
