"""Debezium's accounts read what is captured and nothing else, sync-service's account of MySQL no values of statements,
and Kafka Connect has no connectors that read files."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded_stack import Stack
from embedded_stack.components.base import MySQLAccount
from embedded_stack.fetch.jars import locked_jars
from registrar.sources import source_problem
from service_kit.mysql import create_engine
from support.connector import built_in_settings, declared_connectors, of_own_tables
from support.dockerfiles import stage
from support.manifests import ROOT
from sync_service.routes.loader import default_routes_file, load_routes

ACCOUNTS = (ROOT / "infra/mysql/accounts.sql").read_text()
PRIVILEGE = re.compile(r"^(GRANT|REVOKE(?: IF EXISTS)?) (.+?) ON (\S+) (?:TO|FROM) 'debezium'@'%';", re.MULTILINE)


def captured() -> set[str]:
    """The tables that the built-in connectors capture."""
    lists = [config.get("table.include.list", "") for config in built_in_settings().values()]
    return {name for tables in lists for name in tables.split(",") if name}


def test_account_may_read_the_tables_in_the_include_lists() -> None:
    granted = {place for verb, rights, place in PRIVILEGE.findall(ACCOUNTS) if verb == "GRANT" and "SELECT" in rights}
    assert granted == captured() | {"performance_schema.variables_by_thread"}


@pytest.fixture
async def debezium(stack: Stack, mysql_root: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """The account of the connector, beside the tables of auth-service."""
    stack.start("auth")
    config = declared_connectors(stack)["mysql-users"].config
    account = MySQLAccount.parse(stack.addresses["MYSQL_ROOT_URL"])
    user, password = config["database.user"], config["database.password"]
    engine = create_engine(f"mysql://{user}:{password}@{account.host}:{account.port}/")
    yield engine
    await engine.dispose()


async def grants(mysql_root: AsyncEngine, account: str = "debezium") -> set[str]:
    async with mysql_root.connect() as connection:
        found = await connection.execute(text(f"SHOW GRANTS FOR '{account}'@'%'"))
        return {re.sub(r" TO .*", "", row[0]) for row in found}


async def may_read(debezium: AsyncEngine, table: str) -> bool:
    try:
        async with debezium.connect() as connection:
            await connection.execute(text(f"TABLE {table} LIMIT 1"))
    except DBAPIError as error:
        if "1142" not in str(error):
            raise
        return False
    return True


async def tables_of_auth(mysql_root: AsyncEngine) -> list[str]:
    async with mysql_root.connect() as connection:
        of_auth = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'auth'"
        return [f"auth.{name}" for name in await connection.scalars(text(of_auth))]


EXACTLY = {
    "GRANT RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.*",
    "GRANT SELECT ON `auth`.`users`",
    "GRANT SELECT ON `performance_schema`.`variables_by_thread`",
}


async def test_account_reads_the_captured_table_and_no_other(mysql_root: AsyncEngine, debezium: AsyncEngine) -> None:
    tables = await tables_of_auth(mysql_root)
    assert len(tables) > 5
    assert [table for table in tables if await may_read(debezium, table)] == ["auth.users"]
    assert await grants(mysql_root) == EXACTLY


async def test_every_captured_column_is_copied_or_left_out(mysql_root: AsyncEngine, debezium: AsyncEngine) -> None:
    """A new column of the users reaches Kafka unless the route says that it does not."""
    users = next(route for route in load_routes(default_routes_file()) if route.name == "users")
    known = {path[0] for path in (*users.source_paths.values(), *users.dropped)}
    async with mysql_root.connect() as connection:
        columns = set((await connection.execute(text("SHOW COLUMNS FROM auth.users"))).scalars())
    assert columns - known == set()
    assert {"id", "email", "username"} <= columns


async def test_upgrade_revokes_the_right_to_read_the_whole_schema(
    stack: Stack, mysql_root: AsyncEngine, debezium: AsyncEngine
) -> None:
    async with mysql_root.connect() as connection:
        await connection.execute(text("GRANT SELECT, LOCK TABLES ON auth.* TO 'debezium'@'%'"))
        await connection.execute(text("REVOKE SELECT ON auth.users FROM 'debezium'@'%'"))
    assert await may_read(debezium, "auth.credentials")
    # It runs at each start, on an installation that is new, old or up to date.
    for _ in range(2):
        await asyncio.to_thread(stack.components["mysql"].after_ready)
        assert await grants(mysql_root) == EXACTLY
        assert not await may_read(debezium, "auth.credentials")


async def test_sync_service_reads_the_kinds_of_statements_without_their_values(
    stack: Stack, mysql_root: AsyncEngine
) -> None:
    """The table has a sample of each kind, which may contain an address or the hash of a password."""
    await asyncio.to_thread(stack.start, "mysql")
    async with mysql_root.connect() as connection:
        # As the first builds with this right did.
        table = "performance_schema.events_statements_summary_by_digest"
        await connection.execute(text(f"GRANT SELECT ON {table} TO 'sync_service'@'%'"))
    for _ in range(2):
        await asyncio.to_thread(stack.components["mysql"].after_ready)
        granted = await grants(mysql_root, "sync_service")
        assert {each for each in granted if re.search(r"ON (\*|`auth`|`performance_schema`)", each)} == {
            "GRANT USAGE ON *.*",
            "GRANT SELECT ON `auth`.`users`",
            "GRANT SELECT ON `performance_schema`.`variables_by_thread`",
            "GRANT SELECT (`digest_text`, `last_seen`) ON `performance_schema`.`events_statements_summary_by_digest`",
        }
    sync_service = create_engine(stack.addresses["SYNC_MYSQL_URL"])
    async with sync_service.connect() as connection:
        await connection.execute(text("USE performance_schema"))
        await connection.execute(
            text("SELECT digest_text FROM events_statements_summary_by_digest WHERE last_seen > NOW()")
        )
        with pytest.raises(DBAPIError, match="1143"):
            await connection.execute(text("SELECT query_sample_text FROM events_statements_summary_by_digest"))
    await sync_service.dispose()
    of_auth = await grants(mysql_root, "auth_service")
    assert {each for each in of_auth if "ON `auth`.*" not in each} == {"GRANT USAGE ON *.*"}


async def test_registrar_names_the_right_that_a_route_of_ones_own_lacks(stack: Stack, mysql_root: AsyncEngine) -> None:
    stack.start("mysql", "mongo")
    schema = f"shop_{secrets.token_hex(4)}"
    declared = declared_connectors(stack)["mysql-users"]
    own = {**declared.config, **of_own_tables(schema, f"{schema}.products, {schema}.later")}
    connector = type(declared)("shop", own)
    async with mysql_root.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {schema}"))
        await connection.execute(text(f"CREATE TABLE {schema}.products (id INT PRIMARY KEY)"))
        await connection.execute(text(f"GRANT SELECT, CREATE ON {schema}.later TO 'debezium'@'%'"))
        try:
            needed = f"GRANT SELECT ON `{schema}`.`products` TO debezium"
            assert await source_problem(connector) == (
                f"MySQL: a snapshot would fail, because this right is missing: {needed}"
            )
            await connection.execute(text(needed))
            assert await source_problem(connector) is None
        finally:
            await connection.execute(text(f"DROP DATABASE {schema}"))


@pytest.mark.parametrize("plugin", ["kafka", "connectors"])
def test_no_jar_has_connectors_that_read_or_write_files(plugin: str) -> None:
    names = [jar.artifact for jar in locked_jars(plugin)]
    assert names
    assert [name for name in names if name.startswith("connect-file")] == []


def test_images_of_connect_keep_the_plugin_path_of_debezium() -> None:
    """Kafka's start script leaves the jar of the file connectors out of the class path (KAFKA-13748)."""
    assert stage("connect").base.startswith("quay.io/debezium/connect:")
    settings = (ROOT / "infra/connect/worker.properties").read_text()
    assert "plugin.path" not in settings
    assert "connect-file" not in (ROOT / "infra/Dockerfile").read_text()


async def test_connect_offers_and_accepts_no_connector_that_reads_files(stack: Stack, tmp_path: Path) -> None:
    stack.start("kafka", "connect")
    secret = tmp_path / "secret"
    secret.write_text("of the machine")
    async with httpx.AsyncClient(base_url=stack.addresses["CONNECT_URL"], timeout=30) as connect:
        plugins = {plugin["class"] for plugin in (await connect.get("/connector-plugins")).json()}
        assert "io.debezium.connector.mysql.MySqlConnector" in plugins
        assert [name for name in plugins if "FileStream" in name] == []
        for kind in ("Source", "Sink"):
            config: dict[str, Any] = {
                "connector.class": f"org.apache.kafka.connect.file.FileStream{kind}Connector",
                "file": str(secret),
                "topic": "cdc.mysql.auth.users",
                "topics": "cdc.mysql.auth.users",
            }
            answer = await connect.put(f"/connectors/file-{kind.lower()}/config", json=config)
            assert answer.is_error
            assert "Failed to find any class that implements Connector" in answer.text
        assert [name for name in (await connect.get("/connectors")).json() if name.startswith("file-")] == []
