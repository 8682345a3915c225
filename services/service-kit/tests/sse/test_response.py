"""The response: limits, the last message, and authorisation while a stream is open."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service_kit.authentication import TokenRevoked
from service_kit.problems import ServiceUnavailable
from service_kit.server import TRANSPORT
from service_kit.sse import response
from service_kit.sse.events import TOO_SLOW, StreamEnded, message
from service_kit.sse.response import EventStream, StreamToken

DEADLINE_SECONDS = 120


class Script:
    """A subscription that has these messages, one at a time, and then ends."""

    def __init__(self, *texts: bytes, end: StreamEnded = TOO_SLOW) -> None:
        self._texts = list(texts)
        self._end = end
        self.sending = False
        self.on_cut: Callable[[], object] | None = None

    async def begin(self) -> list[bytes]:
        return []

    def opening(self) -> bytes:
        return b""

    def heartbeat(self) -> bytes:
        return b": heartbeat\n\n"

    async def next(self) -> list[bytes]:
        if not self._texts:
            raise self._end
        text = self._texts.pop(0)
        return [text] if text else []

    def cut(self, end: StreamEnded) -> None:
        self._end = end


async def stay_connected() -> None:
    await asyncio.Event().wait()


async def sent(
    script: Script,
    *,
    transport: asyncio.BaseTransport | None = None,
    receive: Callable[[], Awaitable[Any]] = stay_connected,
    **options: Any,
) -> str:
    """The body of the response, over the server's connection `transport`."""

    @asynccontextmanager
    async def subscription() -> AsyncIterator[Script]:
        yield script

    body: list[bytes] = []

    async def send(event: Any) -> None:
        body.append(event.get("body", b""))

    stream = EventStream(
        subscription(),  # type: ignore[arg-type]  # the parts of a subscription that a response uses
        **{"limit": None, "seconds": 3600.0, "headers": {}, **options},
    )
    scope = {"type": "http", "extensions": {TRANSPORT: {"transport": transport}}}
    await stream(scope, receive, send)
    return b"".join(body).decode()


EVENTS = [message("tweet", str(number)) for number in range(3)]


async def test_end_has_the_reason() -> None:
    body = await sent(Script(*EVENTS, b""))
    assert body.startswith("retry: ")
    assert body.count("event: tweet") == 3
    assert ": heartbeat" in body
    assert 'event: end\ndata: {"code":"too-slow"' in body


async def test_stream_ends_after_the_limit() -> None:
    body = await sent(Script(*EVENTS), limit=2)
    assert body.count("event: tweet") == 2
    assert "event: end" not in body


class Silent(Script):
    """A subscription without events, until it is cut off."""

    def __init__(self) -> None:
        super().__init__()
        self._cut = asyncio.Event()

    async def next(self) -> list[bytes]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._cut.wait()
        raise self._end

    def cut(self, end: StreamEnded) -> None:
        super().cut(end)
        self._cut.set()


@pytest.fixture
def _frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response, "REAUTHORIZE_SECONDS", 0.0)


@pytest.mark.usefixtures("_frequent_checks")
async def test_revoked_token_ends_a_stream_without_events() -> None:
    checks: list[int] = []

    async def reauthorize() -> None:
        checks.append(len(checks))
        if len(checks) == 2:
            raise ServiceUnavailable
        if len(checks) == 3:
            raise LookupError
        if len(checks) == 4:
            raise TokenRevoked

    token = StreamToken(3600, reauthorize)
    body = await sent(Silent(), token=token, unavailable_on=(OSError, LookupError))
    assert 'event: end\ndata: {"code":"token-revoked"' in body
    assert checks == [0, 1, 2, 3]


@pytest.mark.usefixtures("_frequent_checks")
async def test_error_that_leaves_the_authorisation_open_ends_the_stream() -> None:
    async def reauthorize() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await sent(Silent(), token=StreamToken(3600, reauthorize), unavailable_on=(OSError,))


@pytest.mark.usefixtures("_frequent_checks")
async def test_check_delays_no_event() -> None:
    async def reauthorize() -> None:
        await asyncio.Event().wait()

    body = await sent(Script(*EVENTS), token=StreamToken(3600, reauthorize))
    assert body.count("event: tweet") == 3


@pytest.mark.usefixtures("_frequent_checks")
async def test_check_that_is_cancelled_when_it_is_due_leaves_no_error() -> None:
    """As when a gateway ends, and with it many streams."""
    loop, errors = asyncio.get_running_loop(), list[Any]()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    checking = asyncio.create_task(response.next_check())
    await asyncio.sleep(0)
    # Before the check's own timer, in the same turn of the event loop.
    loop.call_at(0.0, checking.cancel)
    with pytest.raises(asyncio.CancelledError):
        await checking
    loop.set_exception_handler(None)
    assert errors == []


async def test_client_that_left_before_the_stream_began_is_no_error() -> None:
    loop, lost = asyncio.get_running_loop(), asyncio.Event()

    class Connection(asyncio.Protocol):
        def connection_lost(self, _error: Exception | None) -> None:
            lost.set()

    async with await loop.create_server(asyncio.Protocol, "127.0.0.1") as server:
        transport, _ = await loop.create_connection(Connection, *server.sockets[0].getsockname())
        transport.abort()
        await lost.wait()
        # The socket is closed after this callback.
        await asyncio.sleep(0)

        async def receive() -> dict[str, str]:
            return {"type": "http.disconnect"}

        assert "event:" not in await sent(Silent(), transport=transport, receive=receive)


async def test_expired_token_ends_the_stream() -> None:
    async def reauthorize() -> None:
        pass

    body = await sent(Silent(), token=StreamToken(0.01, reauthorize))
    assert 'event: end\ndata: {"code":"token-expired"' in body
    body = await sent(Silent(), seconds=0.01, token=StreamToken(3600, reauthorize))
    assert "event: end" not in body
