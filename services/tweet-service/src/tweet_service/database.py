"""The connection to MongoDB: timeouts, transactions, and the preparation of collections."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pymongo
import structlog
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import IndexModel
from pymongo.errors import OperationFailure, PyMongoError

from service_kit.error_texts import error_text
from service_kit.health import NotReady
from service_kit.retry import Backoff, Retrier

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorClientSession, AsyncIOMotorDatabase

    Client = AsyncIOMotorClient[dict[str, Any]]
    Database = AsyncIOMotorDatabase[dict[str, Any]]

ResultT = TypeVar("ResultT")

log = structlog.get_logger(__name__)

SERVER_SELECTION_MS = 2000
OPERATION_MS = 2500
INDEX_BUILD_SECONDS = 600
_BACKOFF = Backoff(initial=1.0, maximum=1.0)
_WRITE_CONFLICT = 112


def _is_conflict(error: Exception) -> bool:
    return isinstance(error, OperationFailure) and error.code == _WRITE_CONFLICT


# The driver repeats a transaction after a conflict of a statement. A busy server also has one at the commit, which is
# undone then, and does not mark it as to be repeated (its `isTransientTransactionError`).
_CONFLICTS = Retrier(on=_is_conflict, backoff=Backoff(initial=0.02, maximum=0.2), attempts=5)


def connect(url: str) -> "Client":
    """A client for the running event loop. It connects on first use, and reconnects.

    An operation ends within `OPERATION_MS`, including retries, so that a request gets a 503 within three seconds while
    MongoDB is down or hangs.
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
    """Runs several writes atomically."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    async def run(self, work: "Callable[[AsyncIOMotorClientSession], Coroutine[Any, Any, ResultT]]") -> "ResultT":
        """Do the work in a transaction. It is repeated after a conflict with another transaction."""
        async with await self._client.start_session() as session:
            return await _CONFLICTS.run(lambda: session.with_transaction(work))


class Preparation:
    """Creates the indexes and upgrades documents, as soon as MongoDB answers. The service is not ready before.

    It retries without a limit: meanwhile the process serves its probes.
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
        """Prepare the database; idempotent."""
        if self._missing is not None:
            await Retrier(on=PyMongoError, backoff=_BACKOFF, on_failure=self._report_failure).run(self._prepare)

    def _report_failure(self, error: Exception, delay: float) -> None:
        self._missing = f"not created yet: {type(error).__name__}"
        log.warning("preparing MongoDB failed, retrying", error=error_text(error), retry_seconds=round(delay, 2))

    async def _prepare(self) -> None:
        for collection, indexes in self._wanted.items():
            # On a large collection an index takes longer than the timeout of requests.
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
