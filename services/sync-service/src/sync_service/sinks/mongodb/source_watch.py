"""Watches the collections that routes copy from MongoDB for changes without events of documents."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sync_service.kafka.gaps import Cause, Gap
from sync_service.routes.config import Route
from sync_service.sinks.mongodb.collection_changes import changes_since
from sync_service.source_watch.watch import Check, FoundGaps

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorClient

    MongoClient = AsyncIOMotorClient[dict[str, Any]]

_LOST: tuple[Cause, str] = (
    "unwatched",
    "MongoDB's log no longer has all changes: drop, renameCollection and $out may be among them",
)


class MongodbWatch:
    """`mongo` is that of the copies: the sources are on the same server."""

    def __init__(self, routes: Sequence[Route], mongo: "MongoClient", found: FoundGaps) -> None:
        self._mongo = mongo
        self._found = found
        self._by_collection: dict[tuple[str, str], list[Route]] = defaultdict(list)
        for route in routes:
            if route.source is not None and route.source_store == "mongodb":
                self._by_collection[route.source].append(route)

    @property
    def checks(self) -> Mapping[str, Check]:
        return {
            f"MongoDB's {database}.{name}": partial(self._check, database, name)
            for database, name in self._by_collection
        }

    async def close(self) -> None:
        """The client is the sinks'."""

    async def _check(self, database: str, name: str) -> None:
        place = f"{database}.{name}"
        seen = await changes_since(self._mongo, database, name, await self._found.state("collection", place))
        changes = [*seen.changes, _LOST] if seen.lost else seen.changes
        routes = self._by_collection[database, name]
        gaps = [Gap.of_source(route.topic, *change) for route in routes for change in changes]
        await self._found.store("collection", place, seen.state, gaps)
