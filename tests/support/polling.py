"""Waiting for what must become true, never for time to pass."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx
from aiokafka.errors import KafkaError
from pymongo.errors import ConnectionFailure
from sqlalchemy.exc import InterfaceError, OperationalError

ResultT = TypeVar("ResultT")

POLL_SECONDS = 0.05
LONGEST_BODY = 2000
# What clients raise while a component starts, restarts or is too busy to answer in time.
_UNREACHABLE = (httpx.TransportError, ConnectionError, ConnectionFailure, InterfaceError, OperationalError)


async def eventually(
    poll: Callable[[], Awaitable[ResultT]], until: Callable[[ResultT], bool] = bool, within: float = 120
) -> ResultT:
    """Call `poll` until `until` accepts its result, and return that. Fail after `within` seconds.

    A component that can't be reached, or that answers 5xx to a poll with `raise_for_status`, may be reached later.
    Other errors of the poll are raised.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            result = await poll()
            if until(result):
                return result
            seen = f"last result: {_shown(result)}"
        except Exception as error:
            if not _may_pass(error):
                raise
            seen = f"last error: {error!r}"
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within} s; {seen}")
        await asyncio.sleep(POLL_SECONDS)


def _shown(result: object) -> str:
    """An answer with its body, which names the reason."""
    if isinstance(result, httpx.Response):
        return f"{result!r} {result.text[:LONGEST_BODY]}"
    return repr(result)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    if isinstance(error, KafkaError):
        return bool(error.retriable)
    return isinstance(error, _UNREACHABLE)
