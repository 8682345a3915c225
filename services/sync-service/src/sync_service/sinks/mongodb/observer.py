"""MongoDB, seen from the monitoring: whether it answers, and how many documents it has."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import ExecutionTimeout, PyMongoError

from sync_service.probe import PROBE_SECONDS, ProbeFailed, probing
from sync_service.routes.config import Route
from sync_service.sinks.counting import COUNT_SECONDS, CountedTable, CountTimeout
from sync_service.sinks.mongodb.databases import copy_database
from sync_service.sinks.mongodb.sink import live_documents_of

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorCollection

    Collection = AsyncIOMotorCollection[dict[str, Any]]

# One to probe, one to count.
_CONNECTIONS = 2
_COUNT_MS = int(COUNT_SECONDS * 1000)


class MongodbObserver:
    """Connects on first use."""

    def __init__(self, url: str) -> None:
        # The driver times out first, because it knows the reason.
        timeout_ms = int(0.75 * PROBE_SECONDS * 1000)
        self._client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
            url,
            appname="sync-service observation",
            maxPoolSize=_CONNECTIONS,
            serverSelectionTimeoutMS=timeout_ms,
            connectTimeoutMS=timeout_ms,
            socketTimeoutMS=2 * timeout_ms,
        )

    async def probe(self) -> float:
        """Asks the primary, because only the primary takes writes."""
        begun = time.perf_counter()
        async with probing(PyMongoError):
            await self._client.admin.command("ping")
        return time.perf_counter() - begun

    def source_table(self, database: str, name: str) -> CountedTable:
        return CountedTable("mongodb", f"{database}.{name}", MongoRows(self._client[database][name], {}))

    def copy_table(self, route: Route) -> CountedTable:
        database, name = copy_database(self._client, route), route.target.copy_name
        return CountedTable("mongodb", f"{database.name}.{name}", MongoRows(database[name], live_documents_of(route)))

    async def close(self) -> None:
        self._client.close()


class MongoRows:
    """Only documents that match the filter `condition` are counted."""

    def __init__(self, collection: "Collection", condition: Mapping[str, Any]) -> None:
        self._collection = collection
        self._condition = dict(condition)
        # Without a condition the index of the ids is sufficient.
        hint = {} if condition else {"hint": "_id_"}
        self._options: dict[str, Any] = {"maxTimeMS": _COUNT_MS, **hint}

    async def count(self) -> int:
        try:
            async with probing(PyMongoError, within=COUNT_SECONDS + PROBE_SECONDS):
                return await self._collection.count_documents(self._condition, **self._options)
        except ProbeFailed as error:
            if isinstance(error.__cause__, ExecutionTimeout):
                raise CountTimeout from error
            raise

    async def estimate(self) -> int:
        async with probing(PyMongoError):
            return await self._collection.estimated_document_count()
