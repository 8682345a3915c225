"""The database for requests without a valid access token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.client_info import ClientInfo
from auth_service.database import ANONYMOUS_CONNECTIONS, MAX_WAITING, Database, deadline
from auth_service.ranked_queue import FairQueue


class AnonymousDatabase:
    """Opens the transactions of requests that anyone can send, on a part of the connections.

    So a flood of logins leaves connections to requests with an access token. Of the operations that wait for a
    connection, those of the networks with the fewest at a time go first.
    """

    def __init__(self, database: Database, *, connections: int = ANONYMOUS_CONNECTIONS) -> None:
        self._database = database
        self._queue = FairQueue(connections, waiting=MAX_WAITING)

    @asynccontextmanager
    async def reading(self, client: ClientInfo) -> AsyncIterator[AsyncSession]:
        """As `Database.reading`. Its time includes the wait for a connection."""
        async with deadline(), self._queue.place(client.network), self._database.reading() as session:
            yield session

    @asynccontextmanager
    async def transaction(self, client: ClientInfo) -> AsyncIterator[AsyncSession]:
        """As `Database.transaction`. Its time includes the wait for a connection."""
        async with deadline(), self._queue.place(client.network), self._database.transaction() as session:
            yield session
