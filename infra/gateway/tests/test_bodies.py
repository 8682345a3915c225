"""Bodies up to the limit reach the service, with and without root."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedded_stack import Stack
from support.gateway import running_gateway

LIMIT = 1024 * 1024


async def answer_with_digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A service that answers with the digest of the body. nginx sends every body with its length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    (length,) = [line.partition(": ")[2] for line in head.splitlines() if line.startswith("content-length: ")]
    digest = hashlib.sha256(await reader.readexactly(int(length))).hexdigest().encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(digest), digest))
    await writer.drain()
    writer.close()


async def in_parts(body: bytes) -> AsyncIterator[bytes]:
    """httpx sends it in chunks, without its length."""
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


@pytest.mark.parametrize("user", ["as_it_runs", "without_root"])
async def test_bodies_up_to_1_mib_arrive(
    stack: Stack, tmp_path: Path, user: str, request: pytest.FixtureRequest
) -> None:
    before = request.getfixturevalue(user) if user == "without_root" else []
    async with (
        running_gateway(stack, tmp_path, answer_with_digest, before=before) as gateway,
        gateway.client() as client,
    ):
        for size in (0, 1, 9_999, 15_000, 17_000, 100_000, LIMIT):
            body = bytes(number % 251 for number in range(size))
            digest = hashlib.sha256(body).hexdigest()
            for content in (body, in_parts(body)):
                answer = await client.post("/api/auth/v1/login", content=content)
                assert (answer.status_code, answer.text) == (200, digest), size
            for path in ("/api/nowhere", "/"):
                assert (await client.post(path, content=body)).status_code in (404, 405), size
