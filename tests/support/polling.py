"""Waiting for what must become true, never for time to pass."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")

POLL_SECONDS = 0.05


async def eventually(
    look: Callable[[], Awaitable[ResultT]], until: Callable[[ResultT], bool] = bool, within: float = 60
) -> ResultT:
    """Look again and again until `until` accepts what is seen. Fails after `within` seconds, saying what it saw."""
    deadline = time.monotonic() + within
    while True:
        seen = await look()
        if until(seen):
            return seen
        assert time.monotonic() < deadline, f"not so within {within} s; last seen: {seen!r}"
        await asyncio.sleep(POLL_SECONDS)
