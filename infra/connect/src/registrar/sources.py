"""Checks the settings of the source databases that the order of changes rests on, and what they refuse a connector.

The accounts are those of the connectors. Reading the settings needs no privilege.
"""

import asyncio
import base64
import json
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncmy
import bson
from asyncmy.errors import MySQLError, OperationalError
from bson.errors import BSONError
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from registrar.captured import COLLECTION, TABLE
from registrar.captured import captured as names_of
from registrar.connectors import Connector
from sync_service.sinks.mongodb.errors import without_values
from sync_service.sinks.mysql.unlogged import ACCESS_DENIED, SETTINGS, seen_every_time

CHECK_SECONDS = 60.0
# The same for a source with a problem, so that its end is soon seen.
PROBLEM_SECONDS = 5.0
# Between two checks of the rights that a connector waits for.
RIGHTS_SECONDS = 2.0
# Between two attempts to find the cause of a connector's silence.
CAUSE_SECONDS = 30.0
_TIMEOUT_SECONDS = 5.0
# Less, so that the driver still says what it has found.
_SELECTION_MS = 4000

_PARTIAL = "binlog_row_value_options"
# What each setting of MySQL must be, and why.
_MYSQL = {
    "log_bin": ("ON", "the connector reads the binary log, which a server without it does not write"),
    "gtid_mode": ("ON", "without GTIDs the order of changes is not known after a failover"),
    "binlog_format": ("ROW", "statements are not change events"),
    "binlog_row_image": ("FULL", "events must have all columns"),
    _PARTIAL: ("", "events must have whole JSON documents"),
}
# What the connector's account needs on the whole server; any privilege of a group will do.
_PRIVILEGES = (
    ("RELOAD", "FLUSH_TABLES"),
    ("SHOW DATABASES",),
    ("REPLICATION SLAVE",),
    ("REPLICATION CLIENT",),
)
_GLOBAL_GRANT = re.compile(r"GRANT (?P<privileges>.+) ON \*\.\* TO ")
_GRANTED_ROLE = re.compile(r"GRANT `[^`]*`@`[^`]*`")
# Sessions that are closed are not known. It needs a privilege that accounts of earlier releases lack.
_SESSIONS = (
    "SELECT thread_id, variable_name, variable_value FROM performance_schema.variables_by_thread "  # noqa: S608
    f"WHERE variable_name IN ({', '.join(['%s'] * len(SETTINGS))})"
)
# Java has no name for them, or Debezium another one (seen with Debezium 3.6.1; the last two on the embedded runtime).
_UNREADABLE_CHARACTER_SETS = {"armscii8", "geostd8", "hp8", "keybcs2", "swe7", "eucjpms", "cp1256"}
_COLUMNS = (
    "SELECT column_name, character_set_name, column_type FROM information_schema.columns "
    "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position"
)
_MEMBER = re.compile(r"'((?:[^']|'')*)'")
_NO_ACCESS_TO_SCHEMA = 1044
_NO_SUCH_TABLE, _NO_SUCH_SCHEMA = 1146, 1049
_UNAUTHORIZED = 13  # MongoDB
_GROUP, _BLOCK_SIZE = "group_replication_group_name", "group_replication_gtid_assignment_block_size"
_MYSQL_SETTINGS = (*_MYSQL, _GROUP, _BLOCK_SIZE)
# MongoDB 6.0: events have the time of the change (`wallTime`) since then.
_LEAST_WIRE_VERSION, _LEAST_VERSION = 17, "6.0"


_HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_TOO_LARGE = 10334  # BSONObjectTooLarge
_REMEDY_FOR_LARGE_EVENTS = (
    "the connector's own cursor.pipeline or capture.mode makes it so large; remove it, or from MongoDB 6.0.9 on set "
    "cursor.oversize.handling.mode=split"
)


class Unreachable(Exception):  # noqa: N818 - a state of the database
    """The settings can't be read. The message is the reason."""


async def source_problem(connector: Connector) -> str | None:
    """Why the database of a connector can't guarantee the order of its changes; None if it can.

    Raises `Unreachable`.
    """
    async with _reached():
        if connector.reads_mysql:
            return mysql_problem(*await _mysql_facts(connector.config))
        if connector.reads_mongodb:
            return mongodb_problem(await _mongodb_hello(connector.config))
    return None


async def missing_rights(connector: Connector, captured: Sequence[str]) -> Mapping[str, str]:
    """Statements for the rights that the connector's account lacks, by the captured table or collection.

    An account sees no difference between a table that does not exist and one that it may not read. Raises
    `Unreachable`.
    """
    async with _reached():
        if connector.reads_mysql:
            async with _mysql(connector.config) as cursor:
                tables = [name for name in captured if TABLE.fullmatch(name)]
                return await _missing_grants(cursor, connector.config["database.user"], tables)
        if connector.reads_mongodb:
            return await _missing_roles(connector.config, captured)
    return {}


async def missing_privileges(connector: Connector) -> Sequence[str]:
    """What the connector's account of MySQL lacks on the server, as a statement. Those of its roles are not known.

    Raises `Unreachable`.
    """
    if not connector.reads_mysql:
        return []
    async with _reached(), _mysql(connector.config) as cursor:
        await cursor.execute("SHOW GRANTS")
        return privileges_missing([row[0] for row in await cursor.fetchall()], connector.config["database.user"])


def privileges_missing(shown: Sequence[str], account: str) -> Sequence[str]:
    """`shown` is the answer to SHOW GRANTS."""
    if any(_GRANTED_ROLE.match(line) for line in shown):
        return []
    grants = filter(None, map(_GLOBAL_GRANT.match, shown))
    held = {name.strip() for grant in grants for name in grant["privileges"].split(",")}
    missing = [names[0] for names in _PRIVILEGES if not held & {"ALL PRIVILEGES", *names}]
    return [f"MySQL: rights are missing: GRANT {', '.join(missing)} ON *.* TO '{account}'"] if missing else []


async def present_tables(connector: Connector, tables: Iterable[str]) -> Sequence[str]:
    """Those of the named tables of MySQL that exist, as far as the connector's account may read them.

    Raises `Unreachable`.
    """
    async with _reached(), _mysql(connector.config) as cursor:
        named = [table for table in tables if TABLE.fullmatch(table)]
        return [table for table in named if await _refusal(cursor, table) is None]


@asynccontextmanager
async def _reached() -> AsyncIterator[None]:
    """Raises `Unreachable`."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            yield
    except TimeoutError as error:
        raise Unreachable(f"no answer within {_TIMEOUT_SECONDS:g} s") from error
    except KeyError as error:
        # In a file of one's own.
        raise Unreachable(f"the connector has no setting {error}") from error
    except (MySQLError, PyMongoError, OSError, ValueError) as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from error


def mysql_problem(
    settings: Mapping[str, str],
    sessions: Mapping[str, int] | None = None,
    grants: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> str | None:
    """`settings` are global variables. Those of a plugin that is not installed are missing.

    `sessions` are the numbers of open sessions with a wrong value of their own, by the name of the variable. `grants`
    are statements for the rights that the connector's account lacks, `columns` say what is wrong with captured columns.
    """
    problems = [
        f"{name} is {settings[name] or 'empty'} instead of {right or 'empty'}: {why}"
        for name, (right, why) in _MYSQL.items()
        if settings.get(name, right).upper() != right
    ]
    if settings.get(_GROUP) and settings.get(_BLOCK_SIZE, "1") != "1":
        problems.append(f"{_BLOCK_SIZE} is {settings[_BLOCK_SIZE]} instead of 1: a later change may get a lower GTID")
    problems += [
        f"sessions with {name} of their own: {count}; {SETTINGS[name][1]}, so end them and run sync-service "
        "reconcile --repair"
        for name, count in (sessions or {}).items()
        # A new session has the global value.
        if settings.get(name, SETTINGS[name][0]) == SETTINGS[name][0]
    ]
    problems += [f"a snapshot would fail, because this right is missing: {grant}" for grant in grants]
    problems += columns
    return f"MySQL: {'; '.join(problems)}" if problems else None


def mongodb_problem(hello: Mapping[str, Any]) -> str | None:
    """`hello` is the answer of the command of that name."""
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        return (
            "MongoDB: the server is no member of a replica set, and only those have change streams: start mongod with "
            "--replSet rs0, and run rs.initiate()"
        )
    if (version := hello.get("maxWireVersion", 0)) < _LEAST_WIRE_VERSION:
        return (
            f"MongoDB: wire version {version} is older than {_LEAST_WIRE_VERSION}: MongoDB {_LEAST_VERSION} is needed"
        )
    return None


async def _mysql_facts(
    config: Mapping[str, str],
) -> tuple[Mapping[str, str], Mapping[str, int], Sequence[str], Sequence[str]]:
    """The arguments of `mysql_problem`."""
    async with _mysql(config) as cursor:
        names = ", ".join(["%s"] * len(_MYSQL_SETTINGS))
        await cursor.execute(f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({names})", _MYSQL_SETTINGS)
        settings = dict(await cursor.fetchall())
        captured = _captured_tables(config)
        grants = list((await _missing_grants(cursor, config["database.user"], captured)).values())
        return settings, await _sessions(cursor), grants, await _unreadable_columns(cursor, config, captured)


@asynccontextmanager
async def _mysql(config: Mapping[str, str]) -> AsyncIterator[Any]:
    """A cursor of the connector's account."""
    connection: Any = await asyncmy.connect(
        host=config["database.hostname"],
        port=int(config.get("database.port", "3306")),
        user=config["database.user"],
        password=config.get("database.password", ""),
        connect_timeout=_TIMEOUT_SECONDS,
        ssl=_tls(config.get("database.ssl.mode", "preferred")),
    )
    async with connection, connection.cursor() as cursor:
        yield cursor


async def _sessions(cursor: Any) -> Mapping[str, int]:
    """The numbers of sessions with a wrong value of their own; none if the account may not read them."""

    async def poll() -> set[tuple[int, str]]:
        await cursor.execute(_SESSIONS, tuple(SETTINGS))
        return {(thread, name) for thread, name, value in await cursor.fetchall() if value != SETTINGS[name][0]}

    try:
        wrong = await seen_every_time(poll)
    except OperationalError as error:
        if error.args[0] != ACCESS_DENIED:
            raise
        return {}
    return Counter(name for _, name in wrong)


def _captured_tables(config: Mapping[str, str]) -> Sequence[str]:
    """As far as they are named and not matched."""
    return [name for name in names_of(config) if TABLE.fullmatch(name)]


async def _unreadable_columns(cursor: Any, config: Mapping[str, str], captured: Sequence[str]) -> Sequence[str]:
    """What Debezium reads wrong from the log without an error, in the columns that the account may see."""
    excluded = {name.strip() for name in config.get("column.exclude.list", "").split(",")}
    found = []
    for table in captured:
        await cursor.execute(_COLUMNS, tuple(table.split(".")))
        for name, character_set, kind in await cursor.fetchall():
            column = f"{table}.{name}"
            if column in excluded:
                continue
            if character_set in _UNREADABLE_CHARACTER_SETS:
                found.append(f"Debezium reads other text from {column}, which is {character_set}: make it utf8mb4")
            elif kind.startswith("enum(") and any(re.search(r"[,\\\t]", member) for member in _MEMBER.findall(kind)):
                found.append(f"Debezium adds backslashes to members of {column} with a comma, backslash or tab")
    return found


async def _missing_grants(cursor: Any, account: str, captured: Sequence[str]) -> Mapping[str, str]:
    """Statements for the rights that the account lacks, by the captured table."""
    missing = {}
    for table in captured:
        if await _refusal(cursor, table) in (ACCESS_DENIED, _NO_ACCESS_TO_SCHEMA):
            missing[table] = f"GRANT SELECT ON {_quoted(table)} TO {account}"
    return missing


async def _refusal(cursor: Any, table: str) -> int | None:
    """MySQL's error for reading the table: the account may not, or there is no such table. None if it can be read."""
    try:
        await cursor.execute(f"SELECT 1 FROM {_quoted(table)} LIMIT 0")  # noqa: S608 - names of letters and digits
    except MySQLError as error:
        if error.args[0] in (ACCESS_DENIED, _NO_ACCESS_TO_SCHEMA, _NO_SUCH_TABLE, _NO_SUCH_SCHEMA):
            return int(error.args[0])
        raise
    return None


def _quoted(table: str) -> str:
    return ".".join(f"`{part}`" for part in table.split("."))


async def _missing_roles(config: Mapping[str, str], captured: Sequence[str]) -> Mapping[str, str]:
    """The roles without which the account can't read captured collections, by the collection."""
    missing = {}
    async with _mongodb(config) as client:
        for database, _, collection in (name.partition(".") for name in captured if COLLECTION.fullmatch(name)):
            try:
                await client[database][collection].find_one({}, {"_id": 1})
            except OperationFailure as error:
                if error.code != _UNAUTHORIZED:
                    raise
                missing[f"{database}.{collection}"] = f'role read on database "{database}"'
    return missing


def _tls(mode: str) -> ssl.SSLContext | None:
    """The modes are those of Debezium's connector."""
    if mode in {"disabled", "preferred"}:
        return None
    context = ssl.create_default_context()
    context.check_hostname = mode == "verify_identity"
    if mode == "required":
        context.verify_mode = ssl.CERT_NONE
    return context


async def _mongodb_hello(config: Mapping[str, str]) -> Mapping[str, Any]:
    async with _mongodb(config) as client:
        return await client.admin.command("hello")


def _mongodb(config: Mapping[str, str]) -> "AsyncMongoClient[dict[str, Any]]":
    return AsyncMongoClient(
        config["mongodb.connection.string"],
        appname="registrar",
        serverSelectionTimeoutMS=_SELECTION_MS,
    )


async def stream_problem(connector: Connector, offsets: Sequence[Mapping[str, Any]]) -> str | None:
    """Why MongoDB refuses the change stream of a connector from its offset on; None if it does not, or is unknown.

    Debezium retries for ever then, and Kafka Connect reports RUNNING.
    """
    token = next((offset["resume_token"] for offset in offsets if offset.get("resume_token")), None)
    if token is None or not connector.reads_mongodb:
        return None
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), _mongodb(connector.config) as client:
            await _read_stream(client, connector.config, token)
    except OperationFailure as error:
        if error.code == _TOO_LARGE:
            return f"a change event is over 16 MB, which MongoDB does not deliver ({_REMEDY_FOR_LARGE_EVENTS})"
        return f"MongoDB refuses the change stream: {error.code} {without_values(str(error))}"
    except (TimeoutError, PyMongoError, BSONError, OSError, ValueError, KeyError):
        # Reading for long means that nothing is refused soon. An unreachable server is reported by the other check.
        return None
    return None


def _resume_token(text: str) -> Mapping[str, Any]:
    """Debezium stores the token of an event as MongoDB's text, and that of a heartbeat as BSON in base64."""
    if _HEXADECIMAL.fullmatch(text):
        return {"_data": text}
    return bson.decode(base64.b64decode(text, validate=True))


async def _read_stream(client: "AsyncMongoClient[dict[str, Any]]", config: Mapping[str, str], token: str) -> None:
    """Read the events as Debezium does, up to the newest. Raises `OperationFailure`."""
    mode = config.get("capture.mode", "change_streams_update_full")
    options: dict[str, Any] = {"resume_after": _resume_token(token), "max_await_time_ms": 500}
    if "update_full" in mode:
        options["full_document"] = "updateLookup"
    if "pre_image" in mode:
        options["full_document_before_change"] = "whenAvailable"
    pipeline = json.loads(config.get("cursor.pipeline") or "[]")
    source = client[config["capture.target"]] if config.get("capture.scope") == "database" else client
    async with await source.watch(pipeline, **options) as stream:
        while await stream.try_next() is not None:
            pass
