"""Deadlines for requests to the broker, and to MySQL for what is kept there about topics."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.errors import KafkaTimeoutError
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from service_kit.time_limits import time_limit
from sync_service.sinks.base import Unavailable
from sync_service.sinks.mysql.errors import reason_of

ANSWER_SECONDS = 5.0
_NO_SUCH_TABLE = 1146


@asynccontextmanager
async def within(seconds: float, failure: str) -> AsyncIterator[None]:
    """Raises `KafkaTimeoutError` with the `failure` and the limit if the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise KafkaTimeoutError(f"{failure} within {seconds:g} s") from error


def is_missing_table(error: ProgrammingError) -> bool:
    """Does a table of the service's own not exist? Then no sync-service of this version has run yet."""
    return error.orig is not None and error.orig.args[0] == _NO_SUCH_TABLE


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Raises `Unavailable` for every error of MySQL, and after `ANSWER_SECONDS`."""
    try:
        async with time_limit(ANSWER_SECONDS):
            yield
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        raise Unavailable(f"MySQL: {reason_of(error)}") from error
