"""Counts the rows of the source and the copy of every route."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from sync_service.monitoring.cache import SingleFlightCache
from sync_service.routes.config import Route
from sync_service.sinks.counting import CountedTable, RowCount, StoreObserver, counted
from sync_service.sinks.targets import Store

# Counts are cached for at least this time, and so long that counting takes at most this share of the time.
KEPT_SECONDS = 5.0
SHARE = 0.1


@dataclass(frozen=True, slots=True)
class RouteCount:
    """`source` is None if the name of the topic does not contain it."""

    route: Route
    source: tuple[CountedTable, RowCount] | None
    copy: tuple[CountedTable, RowCount]

    @property
    def difference(self) -> int | None:
        """Source less copy, if both are exact, and every row of the source belongs into the copy."""
        if self.route.where is not None:
            return None
        source = None if self.source is None else self.source[1].exact_rows
        copy = self.copy[1].exact_rows
        return None if source is None or copy is None else source - copy


@dataclass(frozen=True, slots=True)
class RowCounts:
    """`seconds` is the time that counting took."""

    at: datetime
    seconds: float
    routes: Sequence[RouteCount]


class Counts:
    """Counts one table at a time in each store, and all stores concurrently. `routes` returns those in force."""

    def __init__(self, routes: Callable[[], Sequence[Route]], stores: Mapping[Store, StoreObserver]) -> None:
        self._stores = stores
        self._routes = routes
        self._counts = SingleFlightCache(self._count, seconds=KEPT_SECONDS, share=SHARE)

    async def read(self) -> RowCounts:
        """The latest counts."""
        return await self._counts.get()

    async def close(self) -> None:
        await self._counts.close()

    async def _count(self) -> RowCounts:
        at, begun = datetime.now(UTC), time.monotonic()
        of_routes = [
            (route, _source_of(route, self._stores), _copy_of(route, self._stores)) for route in self._routes()
        ]
        tables = [table for _, source, copy in of_routes for table in (source, copy) if table is not None]
        of_each_store = [[table for table in tables if table.store == store] for store in self._stores]
        found = dict(chain.from_iterable(await asyncio.gather(*map(_in_turn, of_each_store))))
        routes = [
            RouteCount(route, None if source is None else (source, found[source]), (copy, found[copy]))
            for route, source, copy in of_routes
        ]
        return RowCounts(at, time.monotonic() - begun, routes)


def _source_of(route: Route, stores: Mapping[Store, StoreObserver]) -> CountedTable | None:
    return None if route.source is None else stores[route.source_store].source_table(*route.source)


def _copy_of(route: Route, stores: Mapping[Store, StoreObserver]) -> CountedTable:
    return stores[route.target.store].copy_table(route)


async def _in_turn(tables: Sequence[CountedTable]) -> list[tuple[CountedTable, RowCount]]:
    return [(table, await counted(table.rows)) for table in tables]
