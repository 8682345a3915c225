"""MySQL, seen from the monitoring: whether it answers, and how many rows it has."""

import time

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import create_engine
from sync_service.probe import PROBE_SECONDS, ProbeFailed, probing
from sync_service.routes.config import Route
from sync_service.sinks.counting import COUNT_SECONDS, CountedTable, CountTimeout
from sync_service.sinks.mysql.ddl import live_rows_of
from sync_service.sinks.mysql.table import copy_schema, quoted

# One to probe, one to count.
_CONNECTIONS = 2
_COUNT_MS = int(COUNT_SECONDS * 1000)
_TIMED_OUT = 3024  # MySQL: maximum statement execution time exceeded


class MysqlObserver:
    """Connects on first use."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, pool_size=_CONNECTIONS, autocommit=True)

    async def probe(self) -> float:
        begun = time.perf_counter()
        async with probing(SQLAlchemyError, OSError), self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return time.perf_counter() - begun

    def source_table(self, database: str, name: str) -> CountedTable:
        return CountedTable("mysql", f"{database}.{name}", MysqlRows(self._engine, database, name))

    def copy_table(self, route: Route) -> CountedTable:
        schema, name = copy_schema(self._engine, route), route.target.copy_name
        return CountedTable("mysql", f"{schema}.{name}", MysqlRows(self._engine, schema, name, live_rows_of(route)))

    async def close(self) -> None:
        await self._engine.dispose()


class MysqlRows:
    """Only rows that meet the SQL `condition` are counted."""

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
            # The cached size of a table may be a day old.
            await connection.exec_driver_sql("SET SESSION information_schema_stats_expiry = 0")
            return int((await connection.exec_driver_sql(statement, values)).scalar() or 0)
