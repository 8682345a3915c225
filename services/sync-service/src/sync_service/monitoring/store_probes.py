"""Both stores, by connections of their own: a look waits for no write, and no write for a look."""

import time
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import PyMongoError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from service_kit.mysql import create_engine
from sync_service.monitoring.probe import PROBE_SECONDS, probing

# One to ask whether it answers, one to count by.
_CONNECTIONS = 2


class StoreProbes:
    """Nothing is connected before it is used."""

    def __init__(self, mysql_url: str, mongodb_url: str) -> None:
        # The driver gives up first: it knows the reason.
        timeout_ms = int(0.75 * PROBE_SECONDS * 1000)
        self.engine = create_engine(mysql_url, pool_size=_CONNECTIONS, autocommit=True)
        self.mongo: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
            mongodb_url,
            appname="sync-service observation",
            maxPoolSize=_CONNECTIONS,
            serverSelectionTimeoutMS=timeout_ms,
            connectTimeoutMS=timeout_ms,
            socketTimeoutMS=2 * timeout_ms,
        )

    async def probe_mysql(self) -> float:
        """How many seconds it takes to answer. Raises `ProbeFailed`, like all here."""
        begun = time.perf_counter()
        async with probing(SQLAlchemyError, OSError), self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return time.perf_counter() - begun

    async def probe_mongodb(self) -> float:
        """The primary, which is who takes writes."""
        begun = time.perf_counter()
        async with probing(PyMongoError):
            await self.mongo.admin.command("ping")
        return time.perf_counter() - begun

    async def close(self) -> None:
        self.mongo.close()
        await self.engine.dispose()
