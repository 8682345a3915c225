"""Checks the sources for changes that cause no event of a row, and records them as gaps."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import structlog
from aiokafka.errors import KafkaError

from sync_service.kafka.gaps import REMEDY, Gap, Gaps
from sync_service.routes.config import Route
from sync_service.sinks.base import Unavailable
from sync_service.source_watch.states import SourceStates

log = structlog.get_logger(__name__)

# Raises `Unavailable`, `KafkaError`, `OSError`.
Check: TypeAlias = Callable[[], Awaitable[None]]


class StoreWatch(Protocol):
    """The sources in one store. Each of the `checks`, by what it checks, may fail alone."""

    @property
    def checks(self) -> Mapping[str, Check]: ...

    async def close(self) -> None: ...


class FoundGaps:
    """Stores what a check has found together with its state, and logs it."""

    def __init__(self, routes: Sequence[Route], states: SourceStates, gaps: Gaps) -> None:
        self._states = states
        self._gaps = gaps
        self._names = {route.topic: route.name for route in routes}

    async def state(self, kind: str, name: str) -> str | None:
        """How far it was checked; None before the first check. Raises `Unavailable`."""
        return await self._states.load(kind, name)

    async def states(self, kind: str) -> Mapping[str, str]:
        """Those of all that were checked, by their names. Raises `Unavailable`."""
        return await self._states.load_all(kind)

    async def store(self, kind: str, name: str, state: str, found: Sequence[Gap]) -> None:
        """Raises `Unavailable`."""
        await self._states.store(kind, name, state, found)
        known = {(gap.topic, gap.cause) for topic in self._names for gap in self._gaps.of(topic)}
        for gap in found:
            if (gap.topic, gap.cause) not in known:
                route = self._names[gap.topic]
                log.warning("the copy is in doubt", route=route, reason=gap.reason, way_on=REMEDY, notable=True)


class SourceWatch:
    def __init__(self, watches: Sequence[StoreWatch]) -> None:
        self._watches = watches
        self._reported: dict[str, str] = {}

    async def check(self) -> None:
        """Record what has happened since the last check. One process of all does it at a time."""
        for watch in self._watches:
            for what, check in watch.checks.items():
                await self._attempt(what, check)

    async def close(self) -> None:
        for watch in self._watches:
            await watch.close()

    async def _attempt(self, what: str, check: Check) -> None:
        try:
            await check()
        except (Unavailable, KafkaError, OSError) as error:
            if self._reported.get(what) != str(error):
                log.warning("a source can't be watched for changes without events", what=what, reason=str(error))
            self._reported[what] = str(error)
        else:
            self._reported.pop(what, None)
