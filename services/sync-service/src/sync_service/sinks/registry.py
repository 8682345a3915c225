"""What the sync can do with each store, by the store's name.

A further store is a package beside `mysql` and `mongodb`, an entry in `sources` and `targets`, and an opener in
`comparison_target`. Here it needs its connections, its sink and its observer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.kafka import KafkaClients
from service_kit.mysql import server_lock
from sync_service.kafka.deadlines import answering
from sync_service.kafka.gaps import Gaps
from sync_service.routes.config import Route
from sync_service.sinks.base import RouteRefused, Sink, Unavailable
from sync_service.sinks.comparison_target import ComparisonTarget, open_target
from sync_service.sinks.counting import StoreObserver
from sync_service.sinks.mongodb.databases import copy_database
from sync_service.sinks.mongodb.grants import Account
from sync_service.sinks.mongodb.moving import Move, Mover, mongo_sink
from sync_service.sinks.mongodb.observer import MongodbObserver
from sync_service.sinks.mongodb.proposal import databases, describe_collection, left_out_by_snapshots
from sync_service.sinks.mongodb.sink import MongoSink
from sync_service.sinks.mongodb.source_watch import MongodbWatch
from sync_service.sinks.mysql.observer import MysqlObserver
from sync_service.sinks.mysql.proposal import describe_table
from sync_service.sinks.mysql.refusals import row_refusal, undetermined_columns
from sync_service.sinks.mysql.schema import change_tables, drop_table, existing_copy, existing_schemas
from sync_service.sinks.mysql.sink import MysqlSink, engine_for_sinks
from sync_service.sinks.mysql.source_watch import MysqlWatch
from sync_service.sinks.mysql.trial import refused_tables
from sync_service.sinks.proposals import DescribedSource
from sync_service.sinks.rights import Administrators
from sync_service.sinks.rows import RowRefusal
from sync_service.sinks.source_rows import SourceRows, open_source_rows
from sync_service.sinks.targets import Store
from sync_service.source_watch.states import SourceStates
from sync_service.source_watch.watch import FoundGaps, SourceWatch

# For the concurrent writes of one route. A route whose table is locked takes no connection from the others.
CONNECTIONS_OF_A_ROUTE = 6
# For stops, gaps, views, moves, the watch of the sources, and the registration of the process.
OWN_CONNECTIONS = 6
MONGODB_TIMEOUT_MS = 5000
COMPARISON_CONNECTIONS = 4
# Between two attempts to become the process that finishes moves.
LEADER_SECONDS = 10.0
COMPARISON_SELECTION_MS = 5000
COMPARISON_REQUEST_MS = 120_000


class Stores:
    """Connects on first use."""

    def __init__(self, mysql_url: str, mongodb_url: str) -> None:
        self.engine = engine_for_sinks(mysql_url, pool_size=OWN_CONNECTIONS)
        self._mysql_url = mysql_url
        self._engines: dict[str, AsyncEngine] = {}
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
            if route.name not in self._engines:
                self._engines[route.name] = engine_for_sinks(self._mysql_url, pool_size=CONNECTIONS_OF_A_ROUTE)
            return MysqlSink(self._engines[route.name], route)
        return mongo_sink(self.mongo, route)

    async def keep(self, routes: Collection[str]) -> None:
        """Close the connections of all other routes, by their names."""
        # A route that is added meanwhile gets connections of its own.
        unused = [self._engines.pop(name) for name in self._engines.keys() - routes]
        for engine in unused:
            await engine.dispose()

    def source_watch(self, routes: Sequence[Route], kafka: KafkaClients, gaps: Gaps) -> SourceWatch:
        """Watches the sources of all routes. The caller closes it."""
        found = FoundGaps(routes, SourceStates(self.engine), gaps)
        return SourceWatch(
            [MysqlWatch(routes, self.engine, kafka, found), MongodbWatch(routes, self.mongo, found)],
        )

    async def finish_moves(
        self, routes: Sequence[Route], is_upgraded: Callable[[], Awaitable[bool]], quiet_seconds: float
    ) -> None:
        """Bring the moves of copies to their end; one process of all does it. Raises the drivers' errors."""
        # A copy that several routes share moves once.
        places = {route.target.place: route for route in reversed(routes) if route.target.store == "mongodb"}
        moves = [Move.of(self.mongo, route) for route in places.values()]
        old = self.mongo.get_default_database().name
        connectors = {route.topic.rsplit(".", 2)[0] for route in routes if route.reads("mongodb", old)}
        movers = [
            Mover(move, is_upgraded, quiet_seconds=quiet_seconds, connectors=len(connectors))
            for move in moves
            if move is not None
        ]
        while movers:
            try:
                async with server_lock(self.engine, f"move copies {self.engine.url.database}"[:64], 0):
                    async with asyncio.TaskGroup() as group:
                        for mover in movers:
                            group.create_task(mover.run())
                    return
            except TimeoutError:
                await asyncio.sleep(LEADER_SECONDS)

    async def run_alone(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run the work unless another process of the system does. Raises its errors, and `Unavailable`."""
        lock = server_lock(self.engine, f"{name} {self.engine.url.database}"[:64], 0)
        try:
            await lock.__aenter__()
        except TimeoutError:
            return
        except SQLAlchemyError as error:
            raise Unavailable(f"MySQL: {type(error).__name__}") from error
        try:
            await work()
        finally:
            await lock.__aexit__(None, None, None)

    async def close(self) -> None:
        self.mongo.close()
        for engine in (self.engine, *self._engines.values()):
            await engine.dispose()


class ComparisonStores:
    """Connections for comparisons, whose requests may take longer than those of a sink. Connects on first use."""

    def __init__(self, mysql_url: str, mongodb_url: str) -> None:
        self.engine = engine_for_sinks(mysql_url, pool_size=COMPARISON_CONNECTIONS)
        self._mysql_url = mysql_url
        self._mongo: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
            mongodb_url,
            appname="sync-service reconcile",
            tz_aware=True,
            w="majority",
            serverSelectionTimeoutMS=COMPARISON_SELECTION_MS,
            connectTimeoutMS=COMPARISON_SELECTION_MS,
            socketTimeoutMS=COMPARISON_REQUEST_MS,
        )

    async def open_target(self, route: Route, *, where: str | None = None) -> ComparisonTarget:
        """Raises `CannotCompare` and `WrongCondition`."""
        return await open_target(route, self.engine, self._mongo, where=where)

    async def left_out_by_snapshots(self, route: Route) -> str | None:
        """The rows that Debezium's snapshot of a running connector leaves out; None if it copies all.

        Raises `RouteRefused`, `Unavailable`.
        """
        if route.source is None or route.source_store == "mysql":
            return None
        database, name = route.source
        return await left_out_by_snapshots(self._mongo[database][name])

    async def open_source_rows(self, routes: Sequence[Route]) -> SourceRows:
        """The current rows of the source, which the routes share. Raises `CannotCompare`."""
        return await open_source_rows(routes, self.engine, self._mongo)

    async def missing_statements(self, route: Route) -> list[str]:
        """What the copy of the route needs and its store lacks.

        Raises `UnfitTable`, `RouteRefused`, `Unavailable`, `TimeoutError`.
        """
        if route.target.store == "mysql":
            return await change_schemas(self._mysql_url, [route], apply=False)
        return await MongoSink(copy_database(self._mongo, route), route).missing()

    async def row_refusal(self, route: Route) -> tuple[RowRefusal, Sequence[str]]:
        """Which rows the copy refuses, although they are mapped, and what of it can't be determined.

        Raises `Unavailable`.
        """
        if route.target.store != "mysql":
            return (lambda _key, _values: None), ()
        async with answering(), self.engine.connect() as connection:
            existing = await existing_copy(connection, route)
        return row_refusal(route, existing), undetermined_columns(route, existing)

    async def close(self) -> None:
        self._mongo.close()
        await self.engine.dispose()


class SourceDescriber:
    """Describes a source, so that a route can be proposed for it. Connects on first use."""

    def __init__(self, mysql_url: str, mongodb_url: str, administrators: Administrators) -> None:
        # The sync's accounts may not read the source yet, and don't see databases that they may not read.
        self._sees_all_of_mysql = administrators.mysql_url is not None
        self._sees_all_of_mongodb = administrators.mongodb_url is not None or Account.of(mongodb_url) is None
        self._engine = engine_for_sinks(administrators.mysql_url or mysql_url, pool_size=1)
        self._mongo: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
            administrators.mongodb_url or mongodb_url,
            appname="sync-service routes add",
            tz_aware=True,
            # Dates that Python does not have.
            datetime_conversion="DATETIME_AUTO",
            serverSelectionTimeoutMS=COMPARISON_SELECTION_MS,
        )

    async def describe(self, store: Store, database: str, name: str) -> DescribedSource:
        """Raises `CannotPropose`, `Unavailable`."""
        if store == "mysql":
            return await describe_table(self._engine, database, name)
        return await describe_collection(self._mongo[database], name)

    async def databases_beside(self, store: Store) -> Collection[str] | None:
        """The databases of the other store, in which the copy of a source in `store` could be.

        None if the account may not see all of them. Raises `Unavailable`.
        """
        if not (self._sees_all_of_mongodb if store == "mysql" else self._sees_all_of_mysql):
            return None
        if store == "mysql":
            return await databases(self._mongo)
        async with answering(), self._engine.connect() as connection:
            return await existing_schemas(connection)

    async def close(self) -> None:
        self._mongo.close()
        await self._engine.dispose()


def database_of_collection(routes: Iterable[Route], copy_name: str) -> str | None:
    """The database that a route names for its copy in MongoDB; None if it names none, or without such a route."""
    targets = (route.target for route in routes if route.target.store == "mongodb")
    return next((target.database for target in targets if target.copy_name == copy_name), None)


def observers(mysql_url: str, mongodb_url: str) -> Mapping[Store, StoreObserver]:
    """Every store for the monitoring, by its name."""
    return {"mysql": MysqlObserver(mysql_url), "mongodb": MongodbObserver(mongodb_url)}


async def change_schemas(mysql_url: str, routes: Iterable[Route], *, apply: bool) -> list[str]:
    """The statements that create what the routes need and their stores lack; executed if `apply`.

    MongoDB needs none. Raises `UnfitTable`, `RouteRefused`, `Unavailable`, `TimeoutError`.
    """
    return await change_tables(mysql_url, routes, apply=apply)


async def drop_copy(mysql_url: str, mongodb_url: str, route: Route) -> None:
    """Drop the copy of a route and its view. Raises `UnfitTable`, `RouteRefused`, `Unavailable`, `TimeoutError`."""
    if route.target.store == "mysql":
        await drop_table(mysql_url, route)
        return
    if not mongodb_url:
        raise Unavailable("MONGODB_URL is not set")
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        mongodb_url,
        appname="sync-service routes drop",
        serverSelectionTimeoutMS=COMPARISON_SELECTION_MS,
        timeoutMS=COMPARISON_REQUEST_MS,
    )
    with closing(client):
        move = Move.of(client, route)
        if move is not None and await move.is_under_way():
            raise RouteRefused(f"the copy {route.target.place} is moving from another database: drop it afterwards")
        await MongoSink(copy_database(client, route), route).drop()


async def refused_schemas(mysql_url: str, routes: Iterable[Route]) -> Mapping[str, str]:
    """Why a store refuses the copy of a route, by the name of the route. Nothing is changed for good.

    MongoDB takes any. Raises `Unavailable`, `TimeoutError`.
    """
    return await refused_tables(mysql_url, routes)
