"""The connection to MongoDB: how long it may take to answer, and the indexes it needs."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pymongo
import structlog
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import IndexModel
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError, WTimeoutError

from service_kit.health import NotReady

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Client = AsyncIOMotorClient[dict[str, Any]]
    Database = AsyncIOMotorDatabase[dict[str, Any]]

log = structlog.get_logger(__name__)

# What the driver raises while MongoDB is away, electing, or too slow.
UNAVAILABLE = (ConnectionFailure, ExecutionTimeout, WTimeoutError)

SERVER_SELECTION_MS = 2000
OPERATION_MS = 2500
INDEX_BUILD_SECONDS = 600
INDEX_RETRY_SECONDS = 1.0


def connect(url: str) -> "Client":
    """A client for the running event loop. It connects by itself when it is first used, and again after a loss.

    An operation ends within `OPERATION_MS`, retries included, so that a client hears a 503 within three seconds.
    """
    return AsyncIOMotorClient(
        url,
        appname="tweet-service",
        tz_aware=True,
        w="majority",
        serverSelectionTimeoutMS=SERVER_SELECTION_MS,
        connectTimeoutMS=SERVER_SELECTION_MS,
        timeoutMS=OPERATION_MS,
    )


class Indexes:
    """Creates the indexes of each collection as soon as MongoDB is there; the service is not ready before.

    Waiting rather than giving up: the process serves its probes meanwhile and needs nobody to start it again.
    """

    def __init__(self, database: "Database", wanted: Mapping[str, Sequence[IndexModel]]) -> None:
        self._database = database
        self._wanted = wanted
        self._missing: str | None = "not created yet"

    async def create(self) -> None:
        """Create what is missing, and try until it works. Idempotent."""
        while self._missing is not None:
            try:
                await self._create_all()
            except PyMongoError as error:
                self._missing = f"not created yet: {type(error).__name__}"
                log.warning(
                    "MongoDB does not answer or refuses to create the indexes; trying again",
                    error=str(error),
                    retry_seconds=INDEX_RETRY_SECONDS,
                )
                await asyncio.sleep(INDEX_RETRY_SECONDS)

    async def _create_all(self) -> None:
        for collection, indexes in self._wanted.items():
            # Building one on a large collection takes longer than a request may.
            with pymongo.timeout(INDEX_BUILD_SECONDS):
                await self._database[collection].create_indexes(list(indexes))
        self._missing = None

    async def check(self) -> None:
        """For `/readyz`. Raises `NotReady` with the reason."""
        if self._missing is not None:
            raise NotReady(self._missing)
