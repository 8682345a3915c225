"""Trying again for as long as a dependency does not answer."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


class Closing(Exception):  # noqa: N818 - a state, not a fault
    """What was being tried is given up: the partition belongs to another member, or the process ends."""


class Persistence:
    """Repeats what fails because of a dependency, with pauses that grow, until it works or `close` is called."""

    def __init__(self, retry_on: tuple[type[Exception], ...], on_failure: Callable[[Exception], None]) -> None:
        self._retry_on = retry_on
        self._on_failure = on_failure
        self._closing = asyncio.Event()

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    def close(self) -> None:
        self._closing.set()

    async def insist(self, attempt: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Raises `Closing`, or what `attempt` raises beyond `retry_on`."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await attempt()
            except self._retry_on as error:
                self._on_failure(error)
            try:
                async with asyncio.timeout(pause * random.uniform(0.5, 1)):  # noqa: S311 - jitter, not a secret
                    await self._closing.wait()
            except TimeoutError:
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                raise Closing
