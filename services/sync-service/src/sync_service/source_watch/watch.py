"""Checks the sources for changes that cause no event of a row, and records them as gaps."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Protocol, TypeAlias

import structlog
from aiokafka.errors import KafkaError

from sync_service.kafka.gaps import REMEDY, Gap, Gaps
from sync_service.routes.config import Route
from sync_service.sinks.base import Unavailable
from sync_service.source_watch.states import SourceStates

log = structlog.get_logger(__name__)

_WATCHED = "watched"
# Raises `Unavailable`, `KafkaError`, `OSError`.
Check: TypeAlias = Callable[[], Awaitable[None]]
# By topic, then by the field of the route: why values of its column or field in the source don't fit any more.
UnfitFields: TypeAlias = Mapping[str, Mapping[str, str]]


class StoreWatch(Protocol):
    """The sources in one store. Each of the `checks`, by what it checks, may fail alone."""

    @property
    def checks(self) -> Mapping[str, Check]: ...

    async def unfit_fields(self) -> UnfitFields:
        """Fields whose type in the source has changed so that it no longer fits. Raises `Unavailable`."""
        ...

    async def close(self) -> None: ...


class FoundGaps:
    """Stores what a check has found together with its state, and logs it.

    A state may be older than a route. What happened before the route was watched is no doubt about its copy, so the
    topics of watched routes are stored, too.
    """

    def __init__(self, routes: Sequence[Route], states: SourceStates, gaps: Gaps) -> None:
        self._states = states
        self._gaps = gaps
        self._names = {route.topic: route.name for route in routes}
        self._noted: set[str] = set()

    async def new_topics(self, routes: Iterable[Route]) -> Collection[str]:
        """Those of these routes that were not watched up to the stored states. Raises `Unavailable`."""
        topics = {route.topic for route in routes}
        if not topics <= self._noted:
            stored = (await self._states.load_all(_WATCHED)).keys()
            if not stored:
                # The states are of an earlier release, which has watched all routes, or there are none yet.
                stored = self._names.keys()
                await self._states.store_all([(_WATCHED, topic, "") for topic in stored])
            self._noted |= topics & stored
        return topics - self._noted

    async def state(self, kind: str, name: str) -> str | None:
        """How far it was checked; None before the first check. Raises `Unavailable`."""
        return await self._states.load(kind, name)

    async def states(self, kind: str) -> Mapping[str, str]:
        """Those of all that were checked, by their names. Raises `Unavailable`."""
        return await self._states.load_all(kind)

    async def store(
        self, kind: str, name: str, state: str, found: Sequence[Gap], new_topics: Collection[str] = ()
    ) -> None:
        """`new_topics` of the source are watched from this state on. Raises `Unavailable`."""
        found = [gap for gap in found if gap.topic not in new_topics]
        await self._states.store(kind, name, state, found, [(_WATCHED, topic, "") for topic in new_topics])
        self._noted.update(new_topics)
        known = {(gap.topic, gap.cause) for topic in self._names for gap in self._gaps.of(topic)}
        for gap in found:
            if (gap.topic, gap.cause) not in known:
                route = self._names[gap.topic]
                log.warning("the copy is in doubt", route=route, reason=gap.reason, way_on=REMEDY, notable=True)


class SourceWatch:
    """`problems` are why the latest checks of this process failed, by what they check."""

    def __init__(self, watches: Sequence[StoreWatch]) -> None:
        self._watches = watches
        self.problems: dict[str, str] = {}

    async def check(self) -> None:
        """Record what has happened since the last check. One process of all does it at a time."""
        for watch in self._watches:
            for what, check in watch.checks.items():
                await self._attempt(what, check)

    async def look_at_types(self) -> UnfitFields | None:
        """The fields whose type in the source no longer fits. Every process does it. None: they can't be read."""
        found: dict[str, Mapping[str, str]] = {}

        async def look() -> None:
            for watch in self._watches:
                found.update(await watch.unfit_fields())

        return found if await self._attempt("the types of the sources", look) else None

    async def close(self) -> None:
        """All watches, also after an error of one. Raises the drivers' errors."""
        async with AsyncExitStack() as closing:
            for watch in self._watches:
                closing.push_async_callback(watch.close)

    async def _attempt(self, what: str, check: Check) -> bool:
        """Whether it succeeds."""
        try:
            await check()
        except (Unavailable, KafkaError, OSError) as error:
            if self.problems.get(what) != str(error):
                log.warning("a source can't be watched for changes without events", what=what, reason=str(error))
            self.problems[what] = str(error)
            return False
        self.problems.pop(what, None)
        return True
