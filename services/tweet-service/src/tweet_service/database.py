"""The connection to MongoDB: how long it may take to answer, and the indexes it needs."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pymongo
import structlog
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import IndexModel
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError, WTimeoutError

from service_kit.health import NotReady

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorClientSession, AsyncIOMotorDatabase

    Client = AsyncIOMotorClient[dict[str, Any]]
    Database = AsyncIOMotorDatabase[dict[str, Any]]

ResultT = TypeVar("ResultT")

log = structlog.get_logger(__name__)

# What the driver raises while MongoDB is away, electing, or too slow.
UNAVAILABLE = (ConnectionFailure, ExecutionTimeout, WTimeoutError)

SERVER_SELECTION_MS = 2000
OPERATION_MS = 2500
INDEX_BUILD_SECONDS = 600
INDEX_RETRY_SECONDS = 1.0


def connect(url: str) -> "Client":
    """A client for the running event loop. It connects by itself when it is first used, and again after a loss.

    An operation ends within `OPERATION_MS`, retries included, so that a client hears a 503 within three seconds of a
    MongoDB that is away or hangs: by the first of the operations that his request takes.
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


class Transactions:
    """Several writes that are done together or not at all."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    async def run(self, work: "Callable[[AsyncIOMotorClientSession], Coroutine[Any, Any, ResultT]]") -> "ResultT":
        """Do the work in a transaction; from its beginning again if another one was in the way."""
        async with await self._client.start_session() as session:
            result: ResultT = await session.with_transaction(work)
        return result


class Preparation:
    """Creates the indexes of each collection as soon as MongoDB is there, and does what else must be done once; the
    service is not ready before.

    Waiting rather than giving up: the process serves its probes meanwhile and needs nobody to start it again.
    """

    def __init__(
        self,
        database: "Database",
        wanted: Mapping[str, Sequence[IndexModel]],
        upgrades: Sequence[Callable[["Database"], Awaitable[int]]] = (),
    ) -> None:
        self._database = database
        self._wanted = wanted
        self._upgrades = upgrades
        self._missing: str | None = "not created yet"

    async def run(self) -> None:
        """Do what is missing, and try until it works. Idempotent."""
        while self._missing is not None:
            try:
                await self._do_all()
            except PyMongoError as error:
                self._missing = f"not created yet: {type(error).__name__}"
                log.warning(
                    "MongoDB does not answer or refuses to be prepared; trying again",
                    error=str(error),
                    retry_seconds=INDEX_RETRY_SECONDS,
                )
                await asyncio.sleep(INDEX_RETRY_SECONDS)

    async def _do_all(self) -> None:
        for collection, indexes in self._wanted.items():
            # Building one on a large collection takes longer than a request may.
            with pymongo.timeout(INDEX_BUILD_SECONDS):
                await self._database[collection].create_indexes(list(indexes))
        for upgrade in self._upgrades:
            with pymongo.timeout(INDEX_BUILD_SECONDS):
                if done := await upgrade(self._database):
                    log.info("documents of an earlier release upgraded", count=done)
        self._missing = None

    async def check(self) -> None:
        """For `/readyz`. Raises `NotReady` with the reason."""
        if self._missing is not None:
            raise NotReady(self._missing)
