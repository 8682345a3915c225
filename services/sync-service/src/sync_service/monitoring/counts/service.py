"""Counts the rows of both sides of every route."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sync_service.monitoring.cache import SingleFlightCache
from sync_service.monitoring.counts.counting import MongoRows, MysqlRows, RowCount, Rows, counted
from sync_service.monitoring.store_probes import StoreProbes
from sync_service.reconciliation.copies import LIVE_DOCUMENTS, LIVE_ROWS
from sync_service.routes.config import Route, Store

# Counts are kept for so long at least, and so long that no more than this share of the time is spent on counting.
KEPT_SECONDS = 5.0
SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Side:
    """One table or collection, by the name that people call it."""

    store: Store
    name: str
    rows: Rows


@dataclass(frozen=True, slots=True)
class RouteCount:
    """`source` is None if the topic does not tell what it is called."""

    route: Route
    source: tuple[Side, RowCount] | None
    copy: tuple[Side, RowCount]

    @property
    def difference(self) -> int | None:
        """Source less copy, if both are exact."""
        source = None if self.source is None else self.source[1].exact_rows
        copy = self.copy[1].exact_rows
        return None if source is None or copy is None else source - copy


@dataclass(frozen=True, slots=True)
class RowCounts:
    """`seconds` is how long the counting took."""

    at: datetime
    seconds: float
    routes: Sequence[RouteCount]


class Counts:
    """In each store one count at a time; both stores at once."""

    def __init__(self, routes: Sequence[Route], stores: StoreProbes) -> None:
        self._sides = [(route, source_of(route, stores), copy_of(route, stores)) for route in routes]
        self._counts = SingleFlightCache(self._count, seconds=KEPT_SECONDS, share=SHARE)

    async def read(self) -> RowCounts:
        """The latest ones."""
        return await self._counts.get()

    async def close(self) -> None:
        await self._counts.close()

    async def _count(self) -> RowCounts:
        at, begun = datetime.now(UTC), time.monotonic()
        sides = [side for _, source, copy in self._sides for side in (source, copy) if side is not None]
        of_mysql = [side for side in sides if side.store == "mysql"]
        of_mongodb = [side for side in sides if side.store == "mongodb"]
        mysql, mongodb = await asyncio.gather(_in_turn(of_mysql), _in_turn(of_mongodb))
        found = {**mysql, **mongodb}
        routes = [
            RouteCount(route, None if source is None else (source, found[source]), (copy, found[copy]))
            for route, source, copy in self._sides
        ]
        return RowCounts(at, time.monotonic() - begun, routes)


def source_of(route: Route, stores: StoreProbes) -> Side | None:
    if route.source is None:
        return None
    database, name = route.source
    if route.source_store == "mysql":
        return Side("mysql", f"{database}.{name}", MysqlRows(stores.engine, database, name))
    return Side("mongodb", f"{database}.{name}", MongoRows(stores.mongo[database][name], {}))


def copy_of(route: Route, stores: StoreProbes) -> Side:
    """Its live rows: a tombstone is none."""
    name = f"{route.target.name}_copy"
    if route.target.store == "mysql":
        schema = stores.engine.url.database or ""
        return Side("mysql", f"{schema}.{name}", MysqlRows(stores.engine, schema, name, LIVE_ROWS))
    database = stores.mongo.get_default_database()
    return Side("mongodb", f"{database.name}.{name}", MongoRows(database[name], LIVE_DOCUMENTS))


async def _in_turn(sides: Sequence[Side]) -> dict[Side, RowCount]:
    return {side: await counted(side.rows) for side in sides}
