"""Waiting for what must become true, never for time to pass."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")

POLL_SECONDS = 0.05


async def eventually(
    poll: Callable[[], Awaitable[ResultT]], until: Callable[[ResultT], bool] = bool, within: float = 60
) -> ResultT:
    """Call `poll` until `until` accepts its result, and return that. Fail after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        result = await poll()
        if until(result):
            return result
        assert time.monotonic() < deadline, f"not within {within} s; last result: {result!r}"
        await asyncio.sleep(POLL_SECONDS)
