"""The response: limits, the last message, and authorisation while a stream is open."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service_kit.authentication import TokenRevoked
from service_kit.problems import ServiceUnavailable
from service_kit.sse import response
from service_kit.sse.events import TOO_SLOW, StreamEnded, message
from service_kit.sse.response import EventStream, StreamToken

DEADLINE_SECONDS = 10


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


async def sent(script: Script, **options: Any) -> str:
    """The body of the response."""

    @asynccontextmanager
    async def subscription() -> AsyncIterator[Script]:
        yield script

    async def receive() -> None:
        """The client stays connected."""
        await asyncio.Event().wait()

    body: list[bytes] = []

    async def send(event: Any) -> None:
        body.append(event.get("body", b""))

    stream = EventStream(
        subscription(),  # type: ignore[arg-type]  # the parts of a subscription that a response uses
        **{"limit": None, "seconds": 3600.0, "headers": {}, **options},
    )
    await stream({"type": "http"}, receive, send)
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


async def test_expired_token_ends_the_stream() -> None:
    async def reauthorize() -> None:
        pass

    body = await sent(Silent(), token=StreamToken(0.01, reauthorize))
    assert 'event: end\ndata: {"code":"token-expired"' in body
    body = await sent(Silent(), seconds=0.01, token=StreamToken(3600, reauthorize))
    assert "event: end" not in body
