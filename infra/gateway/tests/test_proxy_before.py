"""The gateway trusts forwarded headers of the configured proxy only."""

from pathlib import Path

import httpx
import pytest

from embedded_stack import Stack
from support.gateway import running_gateway

CLAIMED = {"X-Forwarded-For": "198.51.100.7, 192.0.2.1", "X-Forwarded-Proto": "https"}


def headers_of(answer: httpx.Response) -> dict[str, str]:
    lines = answer.text.strip().splitlines()[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@pytest.mark.parametrize(
    ("trusted", "address", "scheme"),
    [
        ("0.0.0.0/32", "127.0.0.1", "http"),
        # The last address before the trusted proxy is used, and no earlier one.
        ("127.0.0.0/8", "192.0.2.1", "https"),
    ],
)
async def test_forwarded_headers_are_trusted_from_the_configured_proxy_only(
    stack: Stack, tmp_path: Path, trusted: str, address: str, scheme: str
) -> None:
    settings = {"GATEWAY_TRUSTED_PROXY": trusted}
    async with running_gateway(stack, tmp_path, settings=settings) as gateway, gateway.client() as client:
        received = headers_of(await client.get("/api/auth/v1/users/me", headers=CLAIMED))
        assert (received["x-forwarded-for"], received["x-forwarded-proto"]) == (address, scheme)
        received = headers_of(await client.get("/api/auth/v1/users/me"))
        assert (received["x-forwarded-for"], received["x-forwarded-proto"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize(
    ("public_url", "hsts"), [("https://tandem.example", "max-age=31536000"), ("http://localhost:8080", None)]
)
async def test_browsers_keep_to_https_if_the_public_url_does(
    stack: Stack, tmp_path: Path, public_url: str, hsts: str | None
) -> None:
    settings = {"GATEWAY_PUBLIC_URL": public_url}
    async with running_gateway(stack, tmp_path, settings=settings) as gateway, gateway.client() as client:
        for path in ("/", "/api/auth/v1/users/me", "/api/nothing"):
            assert (await client.get(path)).headers.get("strict-transport-security") == hsts
