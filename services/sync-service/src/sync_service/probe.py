"""What is said of a part that can't be asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError

from service_kit.background import stray_cancellations
from service_kit.kafka_diagnosis import KafkaUnavailable

# Nobody who asks how the parts are waits longer for one of them.
PROBE_SECONDS = 2.0
_LONGEST_REASON = 300


class ProbeFailed(Exception):  # noqa: N818 - a state of what was asked
    """It does not answer, or not as it should; the message is a reason for people to read."""


@asynccontextmanager
async def probing(*errors: type[Exception], within: float = PROBE_SECONDS) -> AsyncIterator[None]:
    """Raises `ProbeFailed` for any of these errors, and after so many seconds."""
    try:
        async with asyncio.timeout(within):
            with stray_cancellations(ProbeFailed):
                yield
    except TimeoutError as error:
        raise ProbeFailed(f"no answer within {within:g} s") from error
    except errors as error:
        raise ProbeFailed(_reason(error)[:_LONGEST_REASON]) from error


def _reason(error: Exception) -> str:
    """Without what the drivers say around it: the statement, and each server that they know."""
    if isinstance(error, DBAPIError) and error.orig is not None and error.orig.args:
        return ": ".join(map(str, error.orig.args))
    if isinstance(error, KafkaUnavailable):
        return str(error)
    told = str(error).split(", full error", 1)[0].split(" (configured", 1)[0]
    name = type(error).__name__
    # Kafka's errors begin with their names as they are.
    return told if told.startswith(name) else ": ".join(filter(None, (name, told)))
