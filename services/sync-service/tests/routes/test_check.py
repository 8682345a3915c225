"""`sync-service routes check`: what would stop a route is found before it runs, by asking the servers."""

import json
import secrets
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka import AIOKafkaProducer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.seeded_file import record_of
from support.change_events import mongodb_event, mysql_event
from support.commands import run_command
from support.topics import create_topics
from sync_service.routes.check import static_findings
from sync_service.routes.config import Route
from sync_service.routes.loader import default_routes_file

run = partial(run_command, "sync-service")


def route(table: str, key: Any = None, topic: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "topic": topic or f"cdc.mongo-shop.shop.{table}",
        "target": {"store": "mysql", "table": table},
        "key": key or {"id": {"from": "_id", "type": "string"}},
        "fields": fields or {"v": "string"},
    }


def collection(name: str, topic: str) -> dict[str, Any]:
    return {
        "topic": topic,
        "target": {"store": "mongodb", "collection": name},
        "key": {"_id": {"from": "id", "type": "string"}},
        "fields": {"v": "string"},
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "routes.yaml"


def write(file: Path, routes: dict[str, Any]) -> list[str]:
    """The lines of the file."""
    content = yaml.safe_dump(routes, sort_keys=False)
    file.write_text(content)
    return content.splitlines()


async def check(file: Path, routes: dict[str, Any], *options: str, **variables: str) -> tuple[int, str]:
    """The exit code, and what is wrong."""
    write(file, routes)
    code, output, errors = await run("routes", "check", *options, SYNC_ROUTES_FILE=str(file), **variables)
    assert (output == f"{file}: {len(routes)} routes, nothing wrong\n") == (code == 0)
    return code, errors.replace(str(file), "routes.yaml")


async def tables(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        return set((await connection.execute(text("SHOW TABLES"))).scalars())


@pytest.mark.integration
@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (route("wide", **{f"f{number}": "string" for number in range(70)}), "1118: Row size too large"),
        (
            route(
                "longkey",
                {part: {"from": f"_id.{part}", "type": "string", "length": 500} for part in "ab"},
            ),
            "1071: Specified key was too long",
        ),
        (route("long", v={"type": "string", "length": 16383}, w={"type": "string", "length": 16383}), "1118: "),
        (route("many", **{f"f{number}": "integer" for number in range(1100)}), "1117: Too many columns"),
    ],
    ids=["wide row", "long key", "long columns", "many columns"],
)
async def test_table_that_mysql_refuses_is_found_and_leaves_no_trace(
    file: Path, schema_url: str, engine: AsyncEngine, refused: dict[str, Any], reason: str
) -> None:
    before = await tables(engine)
    routes = {"right": route(f"t_{secrets.token_hex(4)}"), "wrong": refused}
    code, errors = await check(file, routes, MYSQL_URL=schema_url)
    assert code == 1
    (line,) = errors.splitlines()
    number = write(file, routes).index("wrong:") + 3
    assert line.startswith(f"error: routes.yaml:{number}: route wrong: target: ")
    assert reason in line
    assert await tables(engine) == before
    # Without the server, or without asking it, that is not known.
    assert await check(file, routes) == (0, "")
    assert await check(file, routes, "--offline", MYSQL_URL=schema_url) == (0, "")


@pytest.mark.integration
async def test_existing_table_that_does_not_fit_is_found(file: Path, schema_url: str, engine: AsyncEngine) -> None:
    name, grown, foreign = (f"t_{secrets.token_hex(4)}" for _ in range(3))
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE TABLE {name} (id INT PRIMARY KEY)"))
        await connection.execute(text(f"CREATE TABLE {foreign}_copy (id INT PRIMARY KEY)"))
    first = {"grown": route(grown)}
    write(file, first)
    code, _, errors = await run("routes", "migrate", "--apply", SYNC_ROUTES_FILE=str(file), MYSQL_URL=schema_url)
    assert (code, errors) == (0, "")
    before = await tables(engine)
    routes = {
        "view": route(name),
        "foreign": route(foreign),
        "grown": route(grown, v="string", **{f"f{number}": "string" for number in range(70)}),
    }
    code, errors = await check(file, routes, MYSQL_URL=schema_url)
    assert code == 1
    reasons = [line.partition(": target: ")[2] for line in errors.splitlines()]
    assert reasons[0] == f"table {name} is in the way: route view needs a view of that name"
    assert reasons[1].startswith(f"table {foreign}_copy is not a copy that the sync has created")
    assert reasons[2].startswith("1118: Row size too large")
    assert await tables(engine) == before
    # A table that fits, and one that gets a column.
    assert await check(file, first, MYSQL_URL=schema_url) == (0, "")
    assert await check(file, {"grown": route(grown, v="string", w="string")}, MYSQL_URL=schema_url) == (0, "")


@pytest.mark.integration
async def test_missing_privileges_are_found(
    file: Path, mysql_root_url: str, schema_url: str, engine: AsyncEngine
) -> None:
    schema, account, name = schema_url.rpartition("/")[2], f"sync_{secrets.token_hex(4)}", f"t_{secrets.token_hex(4)}"
    address = mysql_root_url.partition("@")[2]
    write(file, {"c": route(name)})
    await run("routes", "migrate", "--apply", SYNC_ROUTES_FILE=str(file), MYSQL_URL=schema_url)
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE USER '{account}'@'%' IDENTIFIED BY 'phrase'"))
        await connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DROP ON {schema}.* TO '{account}'@'%'"))
    try:
        url = f"mysql://{account}:phrase@{address}{schema}"
        code, errors = await check(file, {"c": route(name), "d": route("new")}, MYSQL_URL=url)
        assert code == 1
        assert "route c: target: 1142: DELETE command denied" in errors
        assert "route d: target: 1142: " in errors
    finally:
        async with engine.connect() as connection:
            await connection.execute(text(f"DROP USER '{account}'@'%'"))


@pytest.mark.integration
async def test_missing_privileges_in_the_schema_of_a_route_are_a_statement(
    file: Path, mysql_root_url: str, schema_url: str, engine: AsyncEngine
) -> None:
    """The schema does not exist yet. Privileges may come by a role."""
    schema, suffix = schema_url.rpartition("/")[2], secrets.token_hex(4)
    account, role, named = f"sync_{suffix}", f"role_{suffix}", f"shop_{suffix}"
    declared = route("new")
    declared["target"]["database"] = named
    url = f"mysql://{account}:phrase@{mysql_root_url.partition('@')[2]}{schema}"
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE ROLE {role}"))
        await connection.execute(text(f"CREATE USER '{account}'@'%' IDENTIFIED BY 'phrase' DEFAULT ROLE {role}"))
        await connection.execute(text(f"GRANT ALL ON {schema}.* TO '{account}'@'%'"))
        try:
            code, errors = await check(file, {"c": route("c"), "d": declared}, MYSQL_URL=url)
            assert code == 1
            (error,) = errors.splitlines()
            _, _, grant = error.partition(
                ": route d: target: the account lacks privileges; run as an administrator of MySQL: "
            )
            assert grant.startswith("GRANT SELECT, ")
            await connection.execute(text(grant.replace(f"`{account}`", f"`{role}`")))
            assert await check(file, {"c": route("c"), "d": declared}, MYSQL_URL=url) == (0, "")
        finally:
            await connection.execute(text(f"DROP USER '{account}'@'%'"))
            await connection.execute(text(f"DROP ROLE {role}"))


@pytest.mark.integration
async def test_copy_that_a_connector_reads_is_warned_of(file: Path) -> None:
    routes = {"orders": route("orders"), "things": collection("things", "cdc.mysql-market.market.things")}
    code, errors = await check(file, routes, MONGODB_URL="mongodb://127.0.0.1:1/shop")
    assert code == 0
    line = write(file, routes).index("things:") + 3
    assert errors.startswith(
        f"warning: routes.yaml:{line}: route things: target: the copy is in shop, and the connector"
    )
    assert "Add `database: market`" in errors


@pytest.mark.integration
async def test_events_that_can_not_be_applied_at_all_are_found(file: Path, kafka_bootstrap_servers: str) -> None:
    suffix = secrets.token_hex(4)
    topics = {
        name: f"test.{suffix}.{name}"
        for name in ("good", "empty", "nokeys", "samedir", "wrongkey", "partkey", "poison")
    }
    await create_topics(kafka_bootstrap_servers, *topics.values())
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap_servers) as producer:
        key, value = mysql_event({"id": "u1", "v": "x"})
        await producer.send_and_wait(topics["good"], key=key, value=value)
        await producer.send_and_wait(topics["nokeys"], value=value)
        await producer.send_and_wait(topics["wrongkey"], key=json.dumps({"sku": 1}).encode(), value=value)
        await producer.send_and_wait(topics["partkey"], key=json.dumps({"id": "u1", "tenant": 2}).encode(), value=value)
        await producer.send_and_wait(topics["poison"], key=b"k", value=b"broken")
        key, value = mongodb_event({"_id": {"$oid": "0" * 24}})
        await producer.send_and_wait(topics["samedir"], key=key, value=value)
    routes = {name: collection(name, topic) for name, topic in topics.items()}
    routes["absent"] = collection("absent", "test.does.not.exist")
    code, errors = await check(file, routes, KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap_servers)
    assert code == 1
    found = {line.split(": ")[2].removeprefix("route "): line for line in errors.splitlines()}
    assert found.keys() == {"nokeys", "samedir", "wrongkey", "partkey"}
    assert "the record has no key: its table has no primary key" in found["nokeys"]
    assert "do not come from mysql, and a target in mongodb is a copy of mysql" in found["samedir"]
    assert "the key lacks" in found["wrongkey"]
    assert "does not take tenant into its key" in found["partkey"]


@pytest.mark.integration
async def test_servers_that_do_not_answer_are_named(file: Path) -> None:
    code, errors = await check(
        file,
        {"c": route("c")},
        MYSQL_URL="mysql://sync:x@127.0.0.1:1/nowhere",
        KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
    )
    assert code == 0
    mysql, kafka = errors.splitlines()
    assert mysql.startswith("warning: not asked: MySQL: ")
    assert kafka.startswith("warning: not asked: Kafka: the broker at 127.0.0.1:1 does not answer")


def findings(**routes: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    declared = [Route.model_validate({**body, "name": name}) for name, body in routes.items()]
    return [(each.route, each.field, each.reason, each.is_doubt) for each in static_findings(declared, "tweets")]


def test_names_that_two_copies_need_are_found() -> None:
    ((name, field, reason, is_doubt),) = findings(c=route("a"), d=route("a_copy"), e=route("b"))
    assert (name, field, is_doubt) == ("d", "target", False)
    assert "both this route and route c need the name a_copy" in reason
    other = {**route("a_copy"), "target": {"store": "mysql", "table": "a_copy", "database": "elsewhere"}}
    assert findings(c=route("a"), d=other, e=collection("a_copy", "cdc.mysql-shop.shop.e")) == []


def test_columns_that_differ_in_case_only_are_found() -> None:
    ((name, field, reason, is_doubt),) = findings(c=route("c", Name="string", name="string"))
    assert (name, field, is_doubt) == ("c", "fields", False)
    assert "Name and name are one column" in reason
    assert (
        findings(c={**collection("c", "cdc.mysql-shop.shop.c"), "fields": {"Name": "string", "name": "string"}}) == []
    )


def test_topic_of_the_other_store_is_doubted_by_its_name() -> None:
    ((name, field, _, is_doubt),) = findings(c=collection("c", "cdc.mongo-shop.shop.c"), d=route("d"))
    assert (name, field, is_doubt) == ("c", "topic", True)
    # The name of the table says nothing, and neither does a prefix that names both stores, or none.
    for topic in ("cdc.mysql-shop.shop.mongo", "cdc.mysql-to-mongo.shop.c", "shop.public.c"):
        assert findings(c=collection("c", topic)) == []


@pytest.mark.integration
async def test_edited_copy_of_the_built_in_routes_is_compared_with_them(file: Path) -> None:
    declared = yaml.safe_load(default_routes_file().read_text())
    del declared["sources"], declared["likes"]
    declared["tweets"]["tombstones"] = "keep"
    declared["mine"] = route("mine")
    assert await check(file, declared, "--offline") == (0, "")
    record_of(file).write_text("of the built-in file\n")
    code, notes = await check(file, declared, "--offline")
    assert (code, notes.splitlines()) == (
        0,
        [
            "note: routes.yaml: the built-in route likes is not in the file",
            "note: routes.yaml: route tweets differs from the built-in one",
        ],
    )
