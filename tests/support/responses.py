"""Reading answers of the services in tests."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import httpx

from support.polling import POLL_SECONDS, eventually


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer that must be a problem (RFC 9457), or an error of the token endpoint."""
    document = answer.json()
    # RFC 6749 §5.2 has another media type.
    media_type = "application/json" if "error" in document else "application/problem+json"
    assert answer.headers["content-type"] == media_type, answer.text
    return answer.status_code, document["code"]


async def served(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The answer to who asks again while it is 503, as one is where the machine stood still for seconds."""
    return await eventually(ask, lambda answer: answer.status_code != 503)


class PatientTransport(httpx.AsyncHTTPTransport):
    """Repeats requests that are answered with 503, as some are where the machine stood still for seconds."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        deadline = time.monotonic() + 120
        while True:
            answer = await super().handle_async_request(request)
            if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                return answer
            await answer.aclose()
            await asyncio.sleep(POLL_SECONDS)


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    """The header that sends an access token."""
    return {"Authorization": f"Bearer {tokens['access_token']}"}
