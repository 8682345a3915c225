"""Checks the settings of the source databases that the order of change events rests on.

The accounts are those of the connectors. Reading these settings needs no privilege.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

import asyncmy
from asyncmy.errors import MySQLError
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from registrar.connectors import Connector

CHECK_SECONDS = 60.0
_TIMEOUT_SECONDS = 5.0

# What each setting of MySQL must be, and why.
_MYSQL = {
    "gtid_mode": ("ON", "without GTIDs the order of changes is not known after a failover"),
    "binlog_format": ("ROW", "statements are not change events"),
    "binlog_row_image": ("FULL", "events must have all columns"),
    "binlog_row_value_options": ("", "events must have whole JSON documents"),
}
_GROUP, _BLOCK_SIZE = "group_replication_group_name", "group_replication_gtid_assignment_block_size"
_MYSQL_SETTINGS = (*_MYSQL, _GROUP, _BLOCK_SIZE)
# MongoDB 6.0: events have the time of the change (`wallTime`) since then.
_LEAST_WIRE_VERSION, _LEAST_VERSION = 17, "6.0"


class Unreachable(Exception):  # noqa: N818 - a state of the database
    """The settings can't be read. The message is the reason."""


async def source_problem(connector: Connector) -> str | None:
    """Why the database of a connector can't guarantee the order of its changes; None if it can.

    Raises `Unreachable`.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            if connector.reads_mysql:
                return mysql_problem(await _mysql_settings(connector.config))
            if connector.reads_mongodb:
                return mongodb_problem(await _mongodb_hello(connector.config))
    except TimeoutError as error:
        raise Unreachable(f"no answer within {_TIMEOUT_SECONDS:g} s") from error
    except (MySQLError, PyMongoError, OSError, ValueError, KeyError) as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from error
    return None


def mysql_problem(settings: Mapping[str, str]) -> str | None:
    """`settings` are global variables. Those of a plugin that is not installed are missing."""
    problems = [
        f"{name} is {settings[name] or 'empty'} instead of {right or 'empty'}: {why}"
        for name, (right, why) in _MYSQL.items()
        if settings.get(name, right).upper() != right
    ]
    if settings.get(_GROUP) and settings.get(_BLOCK_SIZE, "1") != "1":
        problems.append(f"{_BLOCK_SIZE} is {settings[_BLOCK_SIZE]} instead of 1: a later change may get a lower GTID")
    return f"MySQL: {'; '.join(problems)}" if problems else None


def mongodb_problem(hello: Mapping[str, Any]) -> str | None:
    """`hello` is the answer of the command of that name."""
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        return "MongoDB: the server is no member of a replica set, and only those have change streams"
    if (version := hello.get("maxWireVersion", 0)) < _LEAST_WIRE_VERSION:
        return (
            f"MongoDB: wire version {version} is older than {_LEAST_WIRE_VERSION}: MongoDB {_LEAST_VERSION} is needed"
        )
    return None


async def _mysql_settings(config: Mapping[str, str]) -> Mapping[str, str]:
    connection: Any = await asyncmy.connect(
        host=config["database.hostname"],
        port=int(config.get("database.port", "3306")),
        user=config["database.user"],
        password=config.get("database.password", ""),
        connect_timeout=_TIMEOUT_SECONDS,
        ssl=_tls(config.get("database.ssl.mode", "preferred")),
    )
    async with connection, connection.cursor() as cursor:
        names = ", ".join(["%s"] * len(_MYSQL_SETTINGS))
        await cursor.execute(f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({names})", _MYSQL_SETTINGS)
        return dict(await cursor.fetchall())


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
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        config["mongodb.connection.string"],
        appname="registrar",
        serverSelectionTimeoutMS=int(_TIMEOUT_SECONDS * 1000),
    )
    async with client:
        return await client.admin.command("hello")
