"""Watches the collections that routes copy from MongoDB for changes without events of documents."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sync_service.kafka.gaps import Cause, Gap
from sync_service.routes.config import Route
from sync_service.sinks.mongodb.collection_changes import DatabaseStream
from sync_service.source_watch.watch import Check, FoundGaps, UnfitFields

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorClient

    MongoClient = AsyncIOMotorClient[dict[str, Any]]

_LOST: tuple[Cause, str] = (
    "unwatched",
    "MongoDB's log no longer has all changes: drop, renameCollection and $out may be among them",
)
# A position is stored with each change, and otherwise this often, before MongoDB's log no longer has it.
RENEW_SECONDS = 60.0


@dataclass
class _Watched:
    """An open stream. `stored` is the state that it continues, as long as no other process has stored another one."""

    stream: DatabaseStream
    stored: str | None
    stored_at: float


class MongodbWatch:
    """`mongo` is that of the copies: the sources are on the same server."""

    def __init__(self, routes: Sequence[Route], mongo: "MongoClient", found: FoundGaps) -> None:
        self._mongo = mongo
        self._found = found
        self._by_database: dict[str, dict[str, list[Route]]] = defaultdict(lambda: defaultdict(list))
        self._watched: dict[str, _Watched] = {}
        for route in routes:
            if route.source is not None and route.source_store == "mongodb":
                database, name = route.source
                self._by_database[database][name].append(route)

    @property
    def checks(self) -> Mapping[str, Check]:
        return {f"MongoDB's database {database}": partial(self._check, database) for database in self._by_database}

    async def unfit_fields(self) -> UnfitFields:
        """No field: a collection declares no types, so the first value of another type is the first sign of one."""
        return {}

    async def close(self) -> None:
        """The client is the sinks'."""
        async with AsyncExitStack() as closing:
            while self._watched:
                closing.push_async_callback(self._watched.popitem()[1].stream.close)

    async def _check(self, database: str) -> None:
        stored = await self._found.state("database", database)
        watched = self._watched.pop(database, None)
        if watched is not None and watched.stored != stored:
            await watched.stream.close()
            watched = None
        if watched is None:
            stream = DatabaseStream(self._mongo, database, self._by_database[database], stored)
            watched = _Watched(stream, stored, time.monotonic())
        try:
            await self._read(database, watched)
        except BaseException:
            # What it has read is not stored: the next check reads it again.
            await watched.stream.close()
            raise
        self._watched[database] = watched

    async def _read(self, database: str, watched: _Watched) -> None:
        seen = await watched.stream.read()
        routes = self._by_database[database]
        gaps = [
            Gap.of_source(route.topic, change.cause, change.reason)
            for change in seen.changes
            for route in routes[change.collection]
        ]
        if seen.lost:
            gaps += [Gap.of_source(route.topic, *_LOST) for each in routes.values() for route in each]
        new = await self._found.new_topics(route for each in routes.values() for route in each)
        is_due = time.monotonic() >= watched.stored_at + RENEW_SECONDS
        if gaps or new or is_due or watched.stored is None:
            await self._found.store("database", database, seen.state, gaps, new)
            watched.stored, watched.stored_at = seen.state, time.monotonic()
