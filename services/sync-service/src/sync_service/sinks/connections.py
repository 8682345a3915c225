"""Connections to the stores of the copies, and the sinks on them."""

from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient

from sync_service.routes.config import Route
from sync_service.sinks.base import Sink
from sync_service.sinks.mongodb import MongoSink
from sync_service.sinks.mysql import MysqlSink, engine_for_sinks

# A write for each partition of the topics that go to MySQL.
MYSQL_CONNECTIONS = 18
MONGODB_TIMEOUT_MS = 5000


class Stores:
    """Nothing is connected before it is used."""

    def __init__(self, mysql_url: str, mongodb_url: str) -> None:
        self.engine = engine_for_sinks(mysql_url, pool_size=MYSQL_CONNECTIONS)
        self.mongo: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
            mongodb_url,
            appname="sync-service",
            tz_aware=True,
            w="majority",
            serverSelectionTimeoutMS=2000,
            connectTimeoutMS=2000,
            timeoutMS=MONGODB_TIMEOUT_MS,
        )

    def sink(self, route: Route) -> Sink:
        if route.target.store == "mysql":
            return MysqlSink(self.engine, route)
        return MongoSink(self.mongo.get_default_database(), route)

    async def close(self) -> None:
        self.mongo.close()
        await self.engine.dispose()
