"""Reading answers of the services in tests."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from support.polling import eventually


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer that must be a problem (RFC 9457)."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def served(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The answer to who asks again while it is 503, as one is where the machine stood still for seconds."""
    return await eventually(ask, lambda answer: answer.status_code != 503)


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    """The header that sends an access token."""
    return {"Authorization": f"Bearer {tokens['access_token']}"}
