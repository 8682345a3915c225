"""Counts rows of one store: exactly, if that takes no longer than it may, else as the store estimates them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pymongo.errors import ExecutionTimeout, PyMongoError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.monitoring.probe import PROBE_SECONDS, ProbeFailed, probing
from sync_service.reconciliation.mysql_table import quoted

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorCollection

    Collection = AsyncIOMotorCollection[dict[str, Any]]

# What one count may take of its store; the databases end it themselves.
COUNT_SECONDS = 2.0
_COUNT_MS = int(COUNT_SECONDS * 1000)
_TIMED_OUT = 3024  # MySQL: maximum statement execution time exceeded

Exactness = Literal["exact", "estimate", "unknown"]


@dataclass(frozen=True, slots=True)
class RowCount:
    """`rows` are None if they are unknown, for this `reason`."""

    rows: int | None
    exactness: Exactness
    reason: str | None = None

    @property
    def exact_rows(self) -> int | None:
        return self.rows if self.exactness == "exact" else None


class CountTimeout(Exception):  # noqa: N818 - what follows is an estimate
    """The count did not end in its time."""


class Rows(Protocol):
    """Both raise `ProbeFailed`."""

    async def count(self) -> int:
        """Exactly. Raises `CountTimeout` after `COUNT_SECONDS`."""

    async def estimate(self) -> int:
        """What the store knows without counting; tombstones are rows to it."""


async def counted(rows: Rows) -> RowCount:
    try:
        try:
            return RowCount(await rows.count(), "exact")
        except CountTimeout:
            return RowCount(await rows.estimate(), "estimate")
    except ProbeFailed as error:
        return RowCount(None, "unknown", str(error))


class MysqlRows:
    """`condition` is SQL that a row must fulfil to be counted."""

    def __init__(self, engine: AsyncEngine, schema: str, table: str, condition: str = "TRUE") -> None:
        self._engine = engine
        self._schema, self._table = schema, table
        self._condition = condition

    async def count(self) -> int:
        try:
            return await self._ask(
                f"SELECT /*+ MAX_EXECUTION_TIME({_COUNT_MS}) */ COUNT(*) "  # noqa: S608 - names of the route
                f"FROM {quoted(self._schema)}.{quoted(self._table)} WHERE {self._condition}"
            )
        except ProbeFailed as error:
            cause = error.__cause__
            if isinstance(cause, DBAPIError) and cause.orig is not None and cause.orig.args[:1] == (_TIMED_OUT,):
                raise CountTimeout from error
            raise

    async def estimate(self) -> int:
        return await self._ask(
            "SELECT table_rows FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            self._schema,
            self._table,
        )

    async def _ask(self, statement: str, *values: str) -> int:
        async with (
            probing(SQLAlchemyError, OSError, within=COUNT_SECONDS + PROBE_SECONDS),
            self._engine.connect() as connection,
        ):
            # What is remembered of a table's size may be a day old.
            await connection.exec_driver_sql("SET SESSION information_schema_stats_expiry = 0")
            return int((await connection.exec_driver_sql(statement, values)).scalar() or 0)


class MongoRows:
    """`condition` is a filter that a document must pass to be counted."""

    def __init__(self, collection: "Collection", condition: Mapping[str, Any]) -> None:
        self._collection = collection
        self._condition = dict(condition)
        # Without a condition the index of the ids has all that it takes.
        hint = {} if condition else {"hint": "_id_"}
        self._options: dict[str, Any] = {"maxTimeMS": _COUNT_MS, **hint}

    async def count(self) -> int:
        try:
            async with probing(PyMongoError, within=COUNT_SECONDS + PROBE_SECONDS):
                return await self._collection.count_documents(self._condition, **self._options)
        except ProbeFailed as error:
            if isinstance(error.__cause__, ExecutionTimeout):
                raise CountTimeout from error
            raise

    async def estimate(self) -> int:
        async with probing(PyMongoError):
            return await self._collection.estimated_document_count()
