"""What sessions of MySQL keep out of the binary log, or log in a way that Debezium can't read.

A session can set it for itself, with the privilege SESSION_VARIABLES_ADMIN. MySQL's Performance Schema has the settings
of open sessions, and the statements that have set them, unless its tables are off.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.kafka.deadlines import answering

# By variable: the right value, and what becomes of the changes of a session with another one.
SETTINGS: Mapping[str, tuple[str, str]] = {
    "binlog_format": ("ROW", "Debezium leaves out the changes of such a session"),
    "binlog_row_image": ("FULL", "the events of such a session lack columns"),
    "binlog_row_value_options": ("", "Debezium leaves out updates of JSON columns of such a session"),
    "sql_log_bin": ("ON", "the changes of such a session are not logged"),
}
_ACCESS_DENIED = 1142

_OPEN = text(
    "SELECT DISTINCT variable_name, variable_value FROM performance_schema.variables_by_thread "
    "WHERE variable_name IN :names"
).bindparams(bindparam("names", list(SETTINGS), expanding=True))
_SET = text(
    "SELECT digest_text, 'set' FROM performance_schema.events_statements_summary_by_digest "
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


async def sessions_since(engine: AsyncEngine, state: str | None) -> UnloggedSessions:
    """The settings of open sessions, and those that were set since the state. Raises `Unavailable`.

    What the account may not read is left out.
    """
    async with answering(), engine.connect() as connection:
        now = str(await connection.scalar(_NOW))
        variables: set[str] = set()
        for statement, values in ((_OPEN, {}), (_SET, {"since": state or now})):
            try:
                rows = (await connection.execute(statement, values)).all()
            except DBAPIError as error:
                if error.orig is None or error.orig.args[0] != _ACCESS_DENIED:
                    raise
                continue
            for where, value in rows:
                variables |= {name for name in SETTINGS if name in str(where).lower() and value != SETTINGS[name][0]}
    return UnloggedSessions(frozenset(variables), now)
