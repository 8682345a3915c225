"""What sessions of MySQL keep out of the binary log, or log in a way that Debezium can't read.

A session can set it for itself, with the privilege SESSION_VARIABLES_ADMIN. MySQL's Performance Schema has the settings
of open sessions, and the statements that have set them, unless its tables are off.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import bindparam, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sync_service.kafka.deadlines import answering

# By variable: the right value, and what becomes of the changes of a session with another one.
SETTINGS: Mapping[str, tuple[str, str]] = {
    "binlog_format": ("ROW", "Debezium leaves out the changes of such a session"),
    "binlog_row_image": ("FULL", "the events of such a session lack columns"),
    "binlog_row_value_options": ("", "Debezium leaves out updates of JSON columns of such a session"),
    "sql_log_bin": ("ON", "the changes of such a session are not logged"),
}
ACCESS_DENIED, _COLUMN_DENIED = 1142, 1143
# MySQL itself gives a session another value while it runs GRANT, CREATE USER and the like.
_SWITCHED = "binlog_format"
# Far longer than a GRANT takes, and less than half of the callers' time limits.
_POLLING_SECONDS, _POLL_SECONDS = 2.0, 0.1
# So many polls tell a session from a series of GRANTs, even if each poll takes longer than `_POLL_SECONDS`.
_POLLS = 10

SessionT = TypeVar("SessionT")

_OPEN = text(
    "SELECT thread_id, variable_name, variable_value FROM performance_schema.variables_by_thread "
    "WHERE variable_name IN :names"
).bindparams(bindparam("names", expanding=True))
_SET = text(
    "SELECT digest_text FROM performance_schema.events_statements_summary_by_digest "
    "WHERE digest_text LIKE 'SET %' AND REGEXP_LIKE(digest_text, :pattern, 'i') AND last_seen > :since"
).bindparams(pattern="|".join(SETTINGS))
_NOW = text("SELECT CAST(NOW(6) AS CHAR)")


@dataclass(frozen=True, slots=True)
class UnloggedSessions:
    """`variables` are names of settings. `state` is for the next `sessions_since`: a time of the server."""

    variables: frozenset[str]
    state: str

    @property
    def reasons(self) -> list[str]:
        return [f"{name} of a session: {SETTINGS[name][1]}" for name in SETTINGS if name in self.variables]


async def seen_every_time(poll: Callable[[], Awaitable[Collection[SessionT]]]) -> set[SessionT]:
    """The sessions that every `poll` finds, during `_POLLING_SECONDS` and at least `_POLLS` times; until it finds none.

    The time of slow polls counts, so that a busy server does not make the callers exceed their time limits.
    """
    begun = time.monotonic()
    found, polls = set(await poll()), 1
    while found and (polls < _POLLS or time.monotonic() - begun < _POLLING_SECONDS):
        await asyncio.sleep(begun + polls * _POLL_SECONDS - time.monotonic())
        found &= set(await poll())
        polls += 1
    return found


async def sessions_since(engine: AsyncEngine, state: str | None) -> UnloggedSessions:
    """The settings of open sessions, and those that were set since the state. Raises `Unavailable`.

    What the account may not read is left out.
    """
    async with answering(), engine.connect() as connection:
        now = str(await connection.scalar(_NOW))
        variables: set[str] = set()
        with _unless_denied():
            variables |= await _open(connection)
        with _unless_denied():
            for (statement,) in await connection.execute(_SET, {"since": state or now}):
                variables |= {name for name in SETTINGS if name in statement.lower()}
    return UnloggedSessions(frozenset(variables), now)


@contextmanager
def _unless_denied() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if error.orig is None or error.orig.args[0] not in (ACCESS_DENIED, _COLUMN_DENIED):
            raise


async def _open(connection: AsyncConnection) -> set[str]:
    async def poll(names: Collection[str]) -> set[tuple[int, str]]:
        rows = await connection.execute(_OPEN, {"names": list(names)})
        return {(thread, name) for thread, name, value in rows if value != SETTINGS[name][0]}

    wrong = await poll(SETTINGS.keys() - {_SWITCHED}) | await seen_every_time(lambda: poll([_SWITCHED]))
    return {name for _, name in wrong}
