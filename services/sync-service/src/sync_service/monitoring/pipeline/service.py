"""Probes every part of the pipeline concurrently. A part that does not answer does not affect the others."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from aiokafka.errors import KafkaError

from sync_service.monitoring.cache import SingleFlightCache
from sync_service.monitoring.pipeline.broker import BrokerProbe, BrokerState
from sync_service.monitoring.pipeline.connectors import ConnectorProbe
from sync_service.monitoring.pipeline.schemas import Connector
from sync_service.probe import ProbeFailed, probing
from sync_service.sinks.counting import StoreObserver
from sync_service.sinks.targets import Store

# The state is cached for this time, however many requests there are.
SNAPSHOT_SECONDS = 1.0
# Reading the dead letters opens connections, so their number is cached for longer.
LETTERS_SECONDS = 5.0
# A readiness check has less than 2 seconds, and neither the registrar nor the dead letters are a dependency.
READINESS_DEADLINE_SECONDS = 1.0

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Probed(Generic[ValueT]):
    """The state of a part; None if it does not answer, with the `reason`."""

    value: ValueT | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PipelineSnapshot:
    """`stores` are the seconds that each store took to answer; `letters` are the open dead letters by topic."""

    at: datetime
    connectors: Probed[Sequence[Connector]]
    broker: Probed[BrokerState]
    stores: Mapping[Store, Probed[float]]
    letters: Probed[Mapping[str, int]]


class Pipeline:
    """`open_letters` returns the number of open dead letters by topic, and raises `KafkaError`."""

    def __init__(
        self,
        connectors: ConnectorProbe,
        broker: BrokerProbe,
        stores: Mapping[Store, StoreObserver],
        open_letters: Callable[[], Awaitable[Mapping[str, int]]],
    ) -> None:
        self._connectors = connectors
        self._broker = broker
        self._stores = stores
        self._open_letters = open_letters
        self._letters = SingleFlightCache(self._count_letters, seconds=LETTERS_SECONDS)
        self._snapshots = SingleFlightCache(self._probe_all, seconds=SNAPSHOT_SECONDS)
        self._sources = SingleFlightCache(lambda: _probed(connectors.probe()), seconds=SNAPSHOT_SECONDS)

    async def snapshot(self) -> PipelineSnapshot:
        """The state, at most `SNAPSHOT_SECONDS` old, or older by the time that a probe takes."""
        return await self._snapshots.get()

    async def connector_problems(self) -> str | None:
        """Why connectors do not work, or which settings of their databases endanger the order of changes.

        None if all is well, or unknown.
        """
        connectors = await _in_time(self._sources)
        found = ((each.name, each.problem or each.source_problem) for each in connectors or ())
        named = [f"{name}: {problem}" for name, problem in found if problem]
        return "; ".join(named) or None

    async def incomplete(self, topics: Iterable[str]) -> Mapping[str, str]:
        """Which of these topics may lack rows of their sources, and why. None without a registrar."""
        if not self._connectors.has_registrar:
            return {}
        if (connectors := await _in_time(self._sources)) is None:
            return dict.fromkeys(topics, "the registrar does not answer")
        found = {topic: connector_of(topic, connectors) for topic in topics}
        reasons = {topic: _why_incomplete(topic, each) for topic, each in found.items() if each is not None}
        return {topic: reason for topic, reason in reasons.items() if reason is not None}

    async def open_dead_letters(self, routes: Mapping[str, str]) -> str | None:
        """Which routes, given by topic, have open dead letters, whose events their copies lack; None if none."""
        letters = await _in_time(self._letters) or {}
        counts = [f"{route} {number:,}" for topic, route in routes.items() if (number := letters.get(topic, 0))]
        return f"open dead letters: {', '.join(counts)}" if counts else None

    async def close(self) -> None:
        await self._snapshots.close()
        await self._sources.close()
        await self._letters.close()
        await self._broker.close()

    async def _probe_all(self) -> PipelineSnapshot:
        connectors, broker, letters, stores = await asyncio.gather(
            _probed(self._connectors.probe()),
            _probed(self._broker.probe()),
            self._letters.get(),
            asyncio.gather(*(_probed(store.probe()) for store in self._stores.values())),
        )
        by_name = dict(zip(self._stores, stores, strict=True))
        return PipelineSnapshot(datetime.now(UTC), connectors, broker, by_name, letters)

    async def _count_letters(self) -> Probed[Mapping[str, int]]:
        async def count() -> Mapping[str, int]:
            # After a timeout the next call continues where this one has stopped reading.
            async with probing(KafkaError, OSError):
                return await self._open_letters()

        return await _probed(count())


async def _in_time(cache: SingleFlightCache[Probed[ValueT]]) -> ValueT | None:
    """The cached value; None if it is unknown, or not there in time for a readiness check."""
    try:
        async with asyncio.timeout(READINESS_DEADLINE_SECONDS):
            return (await cache.get()).value
    except TimeoutError:
        return None


async def _probed(asked: Awaitable[ValueT]) -> Probed[ValueT]:
    try:
        return Probed(await asked)
    except ProbeFailed as error:
        return Probed(None, str(error))


def connector_of(topic: str, connectors: Iterable[Connector]) -> Connector | None:
    """The connector that writes a topic: the one with the longest prefix of its name."""
    writing = [each for each in connectors if topic.startswith(f"{each.topic_prefix}.")]
    return max(writing, key=lambda each: len(each.topic_prefix), default=None)


def _why_incomplete(topic: str, connector: Connector) -> str | None:
    if connector.problem is not None:
        return f"{connector.name} does not work"
    if topic.removeprefix(f"{connector.topic_prefix}.") in connector.rows_awaited:
        return "a snapshot copies its rows"
    return None
