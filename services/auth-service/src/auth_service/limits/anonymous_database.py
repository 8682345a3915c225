"""The database for requests without a valid access token."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.client_info import ClientInfo
from auth_service.database import Database, deadline
from auth_service.limits.ranked_queue import QueueFull, RankedQueue
from service_kit.problems import ServiceUnavailable

# Of the 10 connections of each pool.
CONNECTIONS = 7
_MAX_WAITING = 1000


class AnonymousDatabase:
    """Opens the transactions of requests that anyone can send, on a part of the connections.

    So a flood of logins leaves connections to requests with an access token. Of the operations that wait for a
    connection, those of the networks with the fewest at a time go first.
    """

    def __init__(self, database: Database, *, connections: int = CONNECTIONS) -> None:
        self._database = database
        self._queue = RankedQueue(connections, waiting=_MAX_WAITING)
        self._operations: Counter[str] = Counter()

    @asynccontextmanager
    async def reading(self, client: ClientInfo) -> AsyncIterator[AsyncSession]:
        """As `Database.reading`. Its time includes the wait for a connection."""
        async with deadline(), self._place(client), self._database.reading() as session:
            yield session

    @asynccontextmanager
    async def transaction(self, client: ClientInfo) -> AsyncIterator[AsyncSession]:
        """As `Database.transaction`. Its time includes the wait for a connection."""
        async with deadline(), self._place(client), self._database.transaction() as session:
            yield session

    @asynccontextmanager
    async def _place(self, client: ClientInfo) -> AsyncIterator[None]:
        rank = self._operations[client.network]
        self._operations[client.network] += 1
        try:
            async with AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(self._queue.place(rank))
                except QueueFull as error:
                    raise ServiceUnavailable("Too many users are logging in at the moment.") from error
                yield
        finally:
            self._operations[client.network] -= 1
            if not self._operations[client.network]:
                del self._operations[client.network]
