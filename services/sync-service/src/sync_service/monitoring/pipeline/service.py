"""Asks every part of the pipeline how it is. All are asked at once, and none keeps the others from being told."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from aiokafka.errors import KafkaError

from sync_service.monitoring.cache import Recent
from sync_service.monitoring.pipeline.broker import Broker, BrokerState
from sync_service.monitoring.pipeline.connectors import Connectors
from sync_service.monitoring.pipeline.schemas import Connector, RouteState
from sync_service.monitoring.probe import Unanswered, answering
from sync_service.monitoring.store_probes import ObservedStores
from sync_service.routes.config import Store

# However many people look, the parts are asked no more often than this.
LOOK_SECONDS = 1.0
# The letters are read from their topic, where each look costs some connections.
LETTERS_SECONDS = 5.0

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Seen(Generic[ValueT]):
    """What a part has told; None if it could not be asked, for this `reason`."""

    value: ValueT | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """`stores` are by name, and tell in how many seconds they have answered; `letters` are counted by topic."""

    at: datetime
    connectors: Seen[Sequence[Connector]]
    broker: Seen[BrokerState]
    stores: Mapping[Store, Seen[float]]
    letters: Seen[Mapping[str, int]]


class Pipeline:
    """`open_letters` counts the open dead letters by topic, and raises `KafkaError`."""

    def __init__(
        self,
        connectors: Connectors,
        broker: Broker,
        stores: ObservedStores,
        open_letters: Callable[[], Awaitable[Mapping[str, int]]],
    ) -> None:
        self._connectors = connectors
        self._broker = broker
        self._stores = stores
        self._open_letters = open_letters
        self._letters = Recent(self._count_letters, seconds=LETTERS_SECONDS)
        self._observed = Recent(self._look, seconds=LOOK_SECONDS)

    async def observe(self) -> Observation:
        """As it was `LOOK_SECONDS` ago at most, or as long ago as it takes to ask."""
        return await self._observed.get()

    async def close(self) -> None:
        await self._observed.close()
        await self._letters.close()
        await self._broker.close()

    async def _look(self) -> Observation:
        connectors, broker, letters, mysql, mongodb = await asyncio.gather(
            _seen(self._connectors.look()),
            _seen(self._broker.look()),
            self._letters.get(),
            _seen(self._stores.ask_mysql()),
            _seen(self._stores.ask_mongodb()),
        )
        return Observation(datetime.now(UTC), connectors, broker, {"mysql": mysql, "mongodb": mongodb}, letters)

    async def _count_letters(self) -> Seen[Mapping[str, int]]:
        async def count() -> Mapping[str, int]:
            # What was read of a long topic when the time is over is not read again by the next who asks.
            async with answering(KafkaError, OSError):
                return await self._open_letters()

        return await _seen(count())


async def _seen(asked: Awaitable[ValueT]) -> Seen[ValueT]:
    try:
        return Seen(await asked)
    except Unanswered as error:
        return Seen(None, str(error))


def connector_of(topic: str, connectors: Iterable[Connector]) -> str | None:
    """The name of the connector that writes a topic: the one with the longest prefix of its name."""
    writing = [each for each in connectors if topic.startswith(f"{each.topic_prefix}.")]
    return max(writing, key=lambda each: len(each.topic_prefix)).name if writing else None


def route_state(lag: int | None, blocked_by: str | None, *, is_in_doubt: bool = False) -> RouteState:
    """In a word. `lag` is None while the broker does not answer, or if it has no such topic."""
    if blocked_by is not None:
        return "blocked"
    if lag is None:
        return "unknown"
    if is_in_doubt:
        return "in doubt"
    return "catching up" if lag else "up to date"
