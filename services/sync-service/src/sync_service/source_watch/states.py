"""How far each source has been watched, in MySQL's table `sync_source_states`."""

from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sync_service.kafka import gaps
from sync_service.kafka.deadlines import answering
from sync_service.kafka.gaps import Gap

# The kind of the state of `schema.table.column`: what its type was when its fields were declared.
COLUMN = "column"


class SourceStates:
    """All methods raise `Unavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        # The engine of the sinks commits each statement.
        self._engine = engine.execution_options(isolation_level="READ COMMITTED")

    async def load(self, kind: str, name: str) -> str | None:
        """None before the first `store`."""
        async with answering(), self._engine.connect() as connection:
            state: str | None = await connection.scalar(_SELECT, {"kind": kind, "name": name})
            return state

    async def load_all(self, kind: str) -> Mapping[str, str]:
        """By their names."""
        async with answering(), self._engine.connect() as connection:
            found = await connection.execute(_SELECT_ALL, {"kind": kind})
            return {row.name: row.state for row in found}

    async def store_all(self, states: Sequence[tuple[str, str, str]]) -> None:
        """Store states of the form kind, name, state: all or none."""
        async with answering(), self._engine.begin() as connection:
            await _store(connection, states)

    async def store(
        self, kind: str, name: str, state: str, found: Sequence[Gap] = (), others: Sequence[tuple[str, str, str]] = ()
    ) -> None:
        """Store the state, `others` of the same form, and what was found up to it: all or nothing."""
        async with answering(), self._engine.begin() as connection:
            await gaps.store(connection, found)
            await _store(connection, [(kind, name, state), *others])


async def _store(connection: AsyncConnection, states: Sequence[tuple[str, str, str]]) -> None:
    for each in states:
        await connection.execute(_STORE, dict(zip(("kind", "name", "state"), each, strict=True)))


_SELECT = text("SELECT state FROM sync_source_states WHERE kind = :kind AND name = :name")
_SELECT_ALL = text("SELECT name, state FROM sync_source_states WHERE kind = :kind")
_STORE = text(
    "INSERT INTO sync_source_states (kind, name, state) VALUES (:kind, :name, :state) AS new "
    "ON DUPLICATE KEY UPDATE state = new.state"
)
