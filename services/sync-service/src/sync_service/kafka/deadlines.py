"""Deadlines of what the broker is asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.errors import KafkaTimeoutError


@asynccontextmanager
async def within(seconds: float, failure: str) -> AsyncIterator[None]:
    """Raises `KafkaTimeoutError`, which says the `failure` and the time, if the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise KafkaTimeoutError(f"{failure} within {seconds:g} s") from error
