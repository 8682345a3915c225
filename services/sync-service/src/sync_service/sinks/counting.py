"""Counts the rows of a store: exactly, or as the store estimates them if counting takes too long."""

from dataclasses import dataclass
from typing import Literal, Protocol

from sync_service.probe import ProbeFailed
from sync_service.routes.config import Route
from sync_service.sinks.targets import Store

# The time limit of one count. The databases enforce it themselves.
COUNT_SECONDS = 2.0

Exactness = Literal["exact", "estimate", "unknown"]


@dataclass(frozen=True, slots=True)
class RowCount:
    """`rows` is None if the number is unknown, with the `reason`."""

    rows: int | None
    exactness: Exactness
    reason: str | None = None

    @property
    def exact_rows(self) -> int | None:
        return self.rows if self.exactness == "exact" else None


class CountTimeout(Exception):  # noqa: N818 - it leads to an estimate
    """The count did not finish in time."""


class Rows(Protocol):
    """All methods raise `ProbeFailed`."""

    async def count(self) -> int:
        """The exact number. Raises `CountTimeout` after `COUNT_SECONDS`."""

    async def estimate(self) -> int:
        """The estimate of the store, which includes tombstones."""


async def counted(rows: Rows) -> RowCount:
    try:
        try:
            return RowCount(await rows.count(), "exact")
        except CountTimeout:
            return RowCount(await rows.estimate(), "estimate")
    except ProbeFailed as error:
        return RowCount(None, "unknown", str(error))


@dataclass(frozen=True, slots=True)
class CountedTable:
    """A table or collection, by its name within the server."""

    store: Store
    name: str
    rows: Rows


class StoreObserver(Protocol):
    """One store, seen from the monitoring. It has connections of its own, so that it waits for no write."""

    async def probe(self) -> float:
        """The seconds that the store took to answer. Raises `ProbeFailed`."""

    def source_table(self, database: str, name: str) -> CountedTable: ...

    def copy_table(self, route: Route) -> CountedTable:
        """Only its live rows: tombstones are not counted."""

    async def close(self) -> None: ...
