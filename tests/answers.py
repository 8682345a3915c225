"""Reading answers of the services in tests."""

from typing import Any

import httpx


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer that must be a problem (RFC 9457)."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    """The header that sends an access token."""
    return {"Authorization": f"Bearer {tokens['access_token']}"}
