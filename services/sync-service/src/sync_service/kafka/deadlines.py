"""Deadlines for requests to the broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.errors import KafkaTimeoutError


@asynccontextmanager
async def within(seconds: float, failure: str) -> AsyncIterator[None]:
    """Raises `KafkaTimeoutError` with the `failure` and the limit if the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise KafkaTimeoutError(f"{failure} within {seconds:g} s") from error
