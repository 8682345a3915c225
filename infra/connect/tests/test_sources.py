"""Settings of the source databases, read with the connectors' accounts."""

import base64
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import bson
import pytest
from pymongo import AsyncMongoClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded_stack import Stack
from registrar import sources
from registrar.connectors import Connector, InvalidDeclaration
from registrar.settings import Settings
from registrar.source_check import check_sources
from registrar.sources import (
    Unreachable,
    mongodb_problem,
    mysql_problem,
    privileges_missing,
    source_problem,
    stream_problem,
)
from support.connector import declared_connectors
from support.polling import eventually
from sync_service.routes.loader import empty_routes_file

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

RIGHT = {"gtid_mode": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL", "binlog_row_value_options": ""}
GROUP = {"group_replication_group_name": "a-uuid", "group_replication_gtid_assignment_block_size": "1000000"}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (RIGHT, None),
        # Settings of a later server that has dropped one, and of a plugin that is installed and not in use.
        ({name: value for name, value in RIGHT.items() if name != "binlog_format"}, None),
        ({**RIGHT, **GROUP, "group_replication_group_name": ""}, None),
        ({**RIGHT, **GROUP, "group_replication_gtid_assignment_block_size": "1"}, None),
        ({**RIGHT, "gtid_mode": "OFF_PERMISSIVE"}, "gtid_mode is OFF_PERMISSIVE instead of ON"),
        ({**RIGHT, "binlog_format": "MIXED"}, "binlog_format is MIXED instead of ROW"),
        ({**RIGHT, "binlog_row_image": "MINIMAL"}, "binlog_row_image is MINIMAL instead of FULL"),
        ({**RIGHT, "binlog_row_value_options": "PARTIAL_JSON"}, "is PARTIAL_JSON instead of empty"),
        ({**RIGHT, "log_bin": "OFF"}, "log_bin is OFF instead of ON"),
        ({**RIGHT, **GROUP}, "group_replication_gtid_assignment_block_size is 1000000 instead of 1"),
    ],
)
def test_setting_of_mysql_that_endangers_the_order_is_named(settings: dict[str, str], problem: str | None) -> None:
    found = mysql_problem(settings)
    assert (found is None) == (problem is None)
    assert (problem or "") in (found or "")


ACCOUNT = "TO `cdc`@`%`"


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        (["GRANT USAGE ON *.*"], "RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT"),
        (
            ["GRANT RELOAD, SHOW DATABASES ON *.*", "GRANT ALL PRIVILEGES ON `shop`.*"],
            "REPLICATION SLAVE, REPLICATION CLIENT",
        ),
        (["GRANT SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.*", "GRANT FLUSH_TABLES ON *.*"], None),
        (["GRANT ALL PRIVILEGES ON *.*"], None),
        # Its privileges are not shown.
        (["GRANT USAGE ON *.*", "GRANT `replication`@`%`"], None),
    ],
)
def test_missing_privilege_on_the_server_is_named(shown: list[str], missing: str | None) -> None:
    found = privileges_missing([f"{line} {ACCOUNT}" for line in shown], "cdc")
    assert found == ([f"MySQL: rights are missing: GRANT {missing} ON *.* TO 'cdc'"] if missing else [])


@pytest.mark.parametrize(
    ("hello", "problem"),
    [
        ({"setName": "rs0", "maxWireVersion": 17}, None),
        ({"msg": "isdbgrid", "maxWireVersion": 25}, None),
        ({"maxWireVersion": 17}, "no member of a replica set"),
        ({"setName": "rs0", "maxWireVersion": 13}, "wire version 13 is older than 17"),
    ],
)
def test_mongodb_must_be_a_replica_set_of_a_supported_version(hello: dict[str, Any], problem: str | None) -> None:
    found = mongodb_problem(hello)
    assert (found is None) == (problem is None)
    assert (problem or "") in (found or "")


@pytest.fixture
def connectors(stack: Stack) -> dict[str, Connector]:
    stack.start("mysql", "mongo")
    return declared_connectors(stack)


async def test_databases_of_new_routes_are_checked_by_their_addresses(
    mysql_root: AsyncEngine, mongodb_url: str
) -> None:
    """`registrar sources`, before there is a route."""
    name = f"cdc_{secrets.token_hex(4)}"
    settings = Settings(
        kafka_bootstrap_servers="127.0.0.1:1", connect_url="http://127.0.0.1:1", sync_routes_file=empty_routes_file()
    )
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"CREATE USER {name} IDENTIFIED BY '{name}'"))
    mysql = {
        "CDC_MYSQL_HOST": "127.0.0.1",
        "CDC_MYSQL_PORT": str(mysql_root.url.port),
        "CDC_MYSQL_USER": name,
        "CDC_MYSQL_PASSWORD": name,
    }
    try:
        assert await check_sources(settings, {"CDC_MYSQL_HOST": ""}) == []
        (lacking,) = await check_sources(settings, mysql)
        assert lacking.name == f"MySQL at 127.0.0.1:{mysql_root.url.port} as {name}"
        grant = (lacking.problem or "").partition("rights are missing: ")[2]
        assert grant == f"GRANT RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{name}'"
        async with mysql_root.begin() as connection:
            await connection.exec_driver_sql(grant)
        checked = await check_sources(settings, {**mysql, "CDC_MONGODB_URL": mongodb_url})
        assert [each.problem for each in checked] == [None, None]
        (refused,) = await check_sources(settings, {**mysql, "CDC_MYSQL_PASSWORD": "wrong"})
        assert "Access denied" in (refused.problem or "")
        other_set = mongodb_url.replace("replicaSet=rs0", "replicaSet=rs1")
        (outside,) = await check_sources(settings, {"CDC_MONGODB_URL": other_set})
        assert "replica set" in (outside.problem or "")
        with pytest.raises(InvalidDeclaration, match="CDC_MYSQL_USER is not set"):
            await check_sources(settings, {name: value for name, value in mysql.items() if "USER" not in name})
    finally:
        async with mysql_root.begin() as connection:
            await connection.execute(text(f"DROP USER {name}"))


async def test_real_servers_are_read_with_the_accounts_of_the_connectors(
    connectors: dict[str, Connector], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [await source_problem(each) for each in connectors.values()] == [None, None]
    # The server's own are not changed: sessions of others that begin meanwhile would keep them.
    monkeypatch.setattr(sources, "_MYSQL", dict.fromkeys(("log_bin", *RIGHT), ("OTHER", "test")))
    problem = await source_problem(connectors["mysql-users"])
    found = {**RIGHT, "log_bin": "ON", "binlog_row_value_options": "empty"}
    assert (problem or "").removeprefix("MySQL: ").split("; ") == [
        f"{name} is {found[name]} instead of OTHER: test" for name in ("log_bin", *RIGHT)
    ]


@pytest.mark.parametrize(
    ("variable", "value", "consequence"),
    [
        (
            "binlog_row_value_options",
            "'PARTIAL_JSON'",
            "Debezium leaves out updates of JSON columns of such a session",
        ),
        ("binlog_row_image", "'MINIMAL'", "the events of such a session lack columns"),
        ("binlog_format", "'STATEMENT'", "Debezium leaves out the changes of such a session"),
        ("sql_log_bin", "0", "the changes of such a session are not logged"),
    ],
)
async def test_session_with_a_wrong_setting_of_its_own_is_reported(
    connectors: dict[str, Connector], mysql_root: AsyncEngine, variable: str, value: str, consequence: str
) -> None:
    """No event can be refused: there is none, or the connector can't read it."""
    async with mysql_root.connect() as session:
        await session.execute(text(f"SET SESSION {variable} = {value}"))
        problem = await source_problem(connectors["mysql-users"])
        await session.invalidate()
    assert problem == (
        f"MySQL: sessions with {variable} of their own: 1; {consequence}, so end them and run sync-service "
        "reconcile --repair"
    )
    # The server needs a moment to end a session.
    await eventually(lambda: source_problem(connectors["mysql-users"]), lambda problem: problem is None)


async def test_column_that_debezium_reads_wrong_is_named(
    connectors: dict[str, Connector], mysql_root: AsyncEngine, mysql_root_url: str
) -> None:
    schema = f"columns_{secrets.token_hex(4)}"
    mysql = connectors["mysql-users"]
    config = {**mysql.config, "table.include.list": f"{schema}.t", "column.exclude.list": f"{schema}.t.left_out"}
    async with mysql_root.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {schema}"))
        await connection.execute(
            text(
                f"CREATE TABLE {schema}.t (id INT PRIMARY KEY, plain TEXT, swedish VARCHAR(9) CHARACTER SET swe7, "
                "left_out VARCHAR(9) CHARACTER SET swe7, size ENUM('s', 'it''s'), list ENUM('a', 'a,b'))"
            )
        )
        await connection.execute(text(f"GRANT SELECT ON {schema}.t TO '{config['database.user']}'@'%'"))
    try:
        problem = await source_problem(Connector(mysql.name, config))
    finally:
        async with mysql_root.connect() as connection:
            privilege = f"SELECT ON {schema}.t"
            await connection.execute(text(f"REVOKE {privilege} FROM '{config['database.user']}'@'%'"))
            await connection.execute(text(f"DROP DATABASE {schema}"))
    assert problem == (
        f"MySQL: Debezium reads other text from {schema}.t.swedish, which is swe7: make it utf8mb4; "
        f"Debezium adds backslashes to members of {schema}.t.list with a comma, backslash or tab"
    )


async def test_account_of_an_earlier_release_needs_no_new_privilege(
    connectors: dict[str, Connector], mysql_root: AsyncEngine
) -> None:
    config, privilege = connectors["mysql-users"].config, "SELECT ON performance_schema.variables_by_thread"
    async with mysql_root.connect() as connection:
        await connection.execute(text(f"REVOKE {privilege} FROM '{config['database.user']}'@'%'"))
        try:
            assert await source_problem(connectors["mysql-users"]) is None
        finally:
            await connection.execute(text(f"GRANT {privilege} TO '{config['database.user']}'@'%'"))


async def test_server_that_does_not_answer_has_no_problem_and_no_result(connectors: dict[str, Connector]) -> None:
    mysql = connectors["mysql-users"]
    with pytest.raises(Unreachable):
        await source_problem(Connector(mysql.name, {**mysql.config, "database.port": "1"}))
    with pytest.raises(Unreachable):
        await source_problem(Connector(mysql.name, {**mysql.config, "database.password": "wrong"}))


@pytest.fixture
async def database(mongodb_url: str) -> "AsyncIterator[AsyncDatabase[dict[str, Any]]]":
    async with AsyncMongoClient[dict[str, Any]](mongodb_url) as client:
        name = f"large_{secrets.token_hex(4)}"
        yield client[name]
        await client.drop_database(name)


async def test_event_that_mongodb_does_not_deliver_is_named(
    connectors: dict[str, Connector], database: "AsyncDatabase[dict[str, Any]]"
) -> None:
    own = {"capture.target": database.name}
    mongodb = Connector("mongodb", {**connectors["mongodb-tweets"].config, **own})
    without = Connector("mongodb", {**mongodb.config, "cursor.pipeline": "[]"})
    async with await database.watch(max_await_time_ms=100) as stream:
        await database.items.insert_one({"_id": 1, "padding": "a" * 10_000_000})
        inserted = await stream.next()
    await database.items.update_one({"_id": 1}, {"$set": {"padding": "b" * 10_000_000}})
    offsets = [{"resume_token": inserted["_id"]["_data"]}]
    problem = await stream_problem(without, offsets)
    assert problem is not None
    assert problem.startswith("a change event is over 16 MB, which MongoDB does not deliver")
    # With the pipeline that the registrar adds.
    assert await stream_problem(mongodb, offsets) is None
    # As Debezium stores the position of a heartbeat.
    in_base64 = [{"resume_token": base64.b64encode(bson.encode(inserted["_id"])).decode()}]
    assert await stream_problem(without, in_base64) == problem
    assert await stream_problem(mongodb, in_base64) is None
    assert await stream_problem(mongodb, [{"resume_token": "no token"}]) is None
    assert await stream_problem(without, []) is None
    unknown = await stream_problem(mongodb, [{"resume_token": "00"}])
    assert unknown is not None
    assert unknown.startswith("MongoDB refuses the change stream: ")
