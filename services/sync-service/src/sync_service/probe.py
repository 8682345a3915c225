"""Probes a part of the system that may not answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError

from service_kit.background import stray_cancellations
from service_kit.kafka_diagnosis import KafkaUnavailable
from service_kit.time_limits import time_limit

# The deadline of a probe.
PROBE_SECONDS = 2.0
_LONGEST_REASON = 300


class ProbeFailed(Exception):  # noqa: N818 - the state of a part
    """The part does not answer, or answers with an error. The message is the reason."""


@asynccontextmanager
async def probing(*errors: type[Exception], within: float = PROBE_SECONDS) -> AsyncIterator[None]:
    """Raises `ProbeFailed` for each of these errors, and after `within` seconds."""
    try:
        async with time_limit(within):
            with stray_cancellations(ProbeFailed):
                yield
    except TimeoutError as error:
        raise ProbeFailed(f"no answer within {within:g} s") from error
    except errors as error:
        raise ProbeFailed(_reason(error)[:_LONGEST_REASON]) from error


def without_server_states(error: Exception) -> str:
    """The message without the state of every server, which MongoDB's driver adds."""
    return str(error).split(", full error", 1)[0].split(" (configured", 1)[0]


def _reason(error: Exception) -> str:
    """Without what the drivers add: the statement, and the state of every server."""
    if isinstance(error, DBAPIError) and error.orig is not None and error.orig.args:
        return ": ".join(map(str, error.orig.args))
    if isinstance(error, KafkaUnavailable):
        return str(error)
    reason = without_server_states(error)
    name = type(error).__name__
    # Kafka's errors begin with their names already.
    return reason if reason.startswith(name) else ": ".join(filter(None, (name, reason)))
