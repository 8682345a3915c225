"""Watches the tables that routes copy from MySQL for changes without events."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.kafka import KafkaClients
from sync_service.kafka.gaps import Gap
from sync_service.routes.config import Route
from sync_service.sinks.mysql.column_watch import ColumnWatch
from sync_service.sinks.mysql.statement_log import Logged, StatementLog
from sync_service.sinks.mysql.statements import change_of_rows
from sync_service.sinks.mysql.table import visible_tables
from sync_service.sinks.mysql.unlogged import sessions_since
from sync_service.source_watch.watch import Check, FoundGaps, UnfitFields

_PRESENT, _GONE = "present", "gone"


class MysqlWatch:
    """`engine` is that of the copies: the sources are on the same server."""

    def __init__(self, routes: Sequence[Route], engine: AsyncEngine, kafka: KafkaClients, found: FoundGaps) -> None:
        self._engine = engine
        self._found = found
        self._statements = StatementLog(kafka)
        self._by_prefix: dict[str, list[Route]] = defaultdict(list)
        self._by_table: dict[tuple[str, str], list[Route]] = defaultdict(list)
        for route in routes:
            if route.source is not None and route.source_store == "mysql":
                self._by_prefix[route.topic.rsplit(".", 2)[0]].append(route)
                self._by_table[route.source].append(route)
        self._columns = ColumnWatch([each for of in self._by_table.values() for each in of], engine, found)

    @property
    def checks(self) -> Mapping[str, Check]:
        if not self._by_table:
            return {}
        return {
            "MySQL's statements": self._check_statements,
            "MySQL's tables": self._check_tables,
            "MySQL's sessions": self._check_sessions,
            "MySQL's columns": self._columns.store_types,
        }

    async def unfit_fields(self) -> UnfitFields:
        return await self._columns.unfit_fields()

    async def close(self) -> None:
        await self._statements.close()

    async def _check_statements(self) -> None:
        stored = await self._found.states("statements")
        states = {prefix: stored.get(prefix) for prefix in self._by_prefix}
        for prefix, logged in (await self._statements.read(states)).items():
            new = await self._found.new_topics(self._by_prefix[prefix])
            if new or logged.state != states[prefix]:
                found = [gap for route in self._by_prefix[prefix] for gap in _gaps_of_statements(route, prefix, logged)]
                await self._found.store("statements", prefix, logged.state, found, new)

    async def _check_tables(self) -> None:
        """Debezium does not report that a table was renamed to a name that is not captured."""
        states = await self._found.states("table")
        visible = await visible_tables(self._engine, self._by_table)
        for (schema, name), routes in self._by_table.items():
            place = f"{schema}.{name}"
            now = _PRESENT if (schema.lower(), name.lower()) in visible else _GONE
            if now == states.get(place, _GONE):
                continue
            reason = f"{place} is gone: it was dropped or renamed, or this account may no longer read it"
            gone = [Gap.of_source(route.topic, "gone", reason) for route in routes]
            await self._found.store("table", place, now, gone if now == _GONE else [])

    async def _check_sessions(self) -> None:
        state = await self._found.state("sessions", "mysql")
        sessions = await sessions_since(self._engine, state)
        if state is not None and not sessions.variables:
            # Nothing was set since the stored time, so the next check may begin there, too.
            return
        found = [
            Gap.of_source(route.topic, "unlogged", "; ".join(sessions.reasons))
            for routes in self._by_table.values()
            for route in routes
            if sessions.variables
        ]
        await self._found.store("sessions", "mysql", sessions.state, found)


def _gaps_of_statements(route: Route, prefix: str, logged: Logged) -> list[Gap]:
    copied = {path[0] for path in route.read_paths.values()}
    found = [
        Gap.of_source(route.topic, *change)
        for statement in logged.statements
        if route.source is not None
        and statement.concerns(*route.source)
        and (change := change_of_rows(statement.text, copied)) is not None
    ]
    if logged.lost:
        reason = f"the topic {prefix} has lost statements: DROP, RENAME or ALTER TABLE may be among them"
        found.append(Gap.of_source(route.topic, "unwatched", reason))
    return found
