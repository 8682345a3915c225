"""How commands end that use MySQL and the broker."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiokafka.errors import KafkaError

from service_kit.kafka import KafkaClients
from service_kit.problems import Problem
from sync_service.sinks.base import Unavailable

ResultT = TypeVar("ResultT")
INTERRUPTED = 130


def run_to_end(work: Coroutine[Any, Any, ResultT], kafka: KafkaClients, *, hint: str = "") -> ResultT:
    """The result of the work. An expected error ends the program with one sentence.

    `hint` is added if a server does not answer.
    """
    try:
        return asyncio.run(work)
    except Problem as error:
        sys.exit(f"error: {error.detail}")
    except Unavailable as error:
        sys.exit(f"error: {error}{hint}")
    except KafkaError as error:
        sys.exit(f"error: {asyncio.run(kafka.explain(error))}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
