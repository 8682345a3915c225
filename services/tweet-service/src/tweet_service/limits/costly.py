"""Turns for reads whose cost the caller chooses: a process runs a few of them at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service_kit.problems import ServiceUnavailable

WAIT_SECONDS = 2.0


class CostlyReads:
    """Otherwise some clients' searches would take all processors of MongoDB from everyone's reads."""

    def __init__(self, at_once: int) -> None:
        self._turns = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it. Raises `ServiceUnavailable` after `WAIT_SECONDS`."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._turns.acquire()
        except TimeoutError as error:
            raise ServiceUnavailable("Too many searches are running. Try again shortly.") from error
        try:
            yield
        finally:
            self._turns.release()
