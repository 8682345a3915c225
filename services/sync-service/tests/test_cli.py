"""`sync-service inspect` and `sync-service routes`, and the errors of a wrong configuration."""

import json
import secrets
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.change_events import mysql_event
from support.commands import run_command
from support.topics import create_topics
from sync_service.routes.loader import load_routes

run = partial(run_command, "sync-service")


async def topic_with_events(bootstrap_servers: str) -> str:
    topic = f"test.{secrets.token_hex(4)}"
    await create_topics(bootstrap_servers, topic)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers) as producer:
        for key, value in (
            mysql_event({"id": "u1", "name": "Ada"}, pos=7),
            mysql_event({"id": "u1", "name": "Ada"}, op="d", pos=8),
            (b'{"id":"u1"}', None),
            (b'{"id":"u2"}', b"broken"),
        ):
            await producer.send_and_wait(topic, key=key, value=value)
        headers = {"topic": "cdc.x", "partition": "3", "offset": "7", "exception.message": "no such luck"}
        await producer.send_and_wait(
            topic,
            key=b"k",
            value=b"broken",
            headers=[(f"__connect.errors.{name}", text.encode()) for name, text in headers.items()],
        )
    return topic


async def test_inspect_prints_before_after_source_and_operation(kafka_bootstrap_servers: str) -> None:
    topic = await topic_with_events(kafka_bootstrap_servers)
    arguments = ("inspect", "--topic", topic, "--from-beginning", "--limit", "4")
    code, output, errors = await run(*arguments, "--json", KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap_servers)
    assert (code, errors) == (0, "")
    created, deleted, broken, letter = map(json.loads, output.splitlines())
    assert (created["op"], created["before"], created["after"]) == ("c", None, {"id": "u1", "name": "Ada"})
    assert (created["source"]["file"], created["source"]["pos"]) == ("binlog.000002", 7)
    assert created["ts_ms"] == 1795490254095
    assert (deleted["op"], deleted["before"], deleted["after"]) == ("d", {"id": "u1", "name": "Ada"}, None)
    assert "error" in broken
    assert "dead_letter" not in broken
    assert letter["dead_letter"] == "cdc.x-3@7: no such luck"

    code, output, _ = await run(*arguments, KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap_servers)
    assert code == 0
    assert f"create  {topic}-0@0" in output
    assert 'before  {"id": "u1", "name": "Ada"}' in output
    assert "not a change event" in output
    assert "dead letter: cdc.x-3@7: no such luck" in output


@pytest.mark.integration
async def test_inspect_without_a_broker_is_one_sentence() -> None:
    code, _, errors = await run("inspect", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert code == 1
    assert "error: the broker at 127.0.0.1:1 does not answer" in errors
    assert "Traceback" not in errors


async def test_inspect_of_a_missing_topic_is_one_sentence(kafka_bootstrap_servers: str) -> None:
    code, _, errors = await run("inspect", "--topic", "no.such", KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap_servers)
    assert (code, errors) == (1, "error: topic no.such does not exist\n")


async def test_inspect_reads_the_topics_of_the_routes_file(kafka_bootstrap_servers: str, tmp_path: Path) -> None:
    topic = await topic_with_events(kafka_bootstrap_servers)
    file = tmp_path / "routes.yaml"
    file.write_text(
        f"own: {{topic: {topic}, target: {{store: mongodb, collection: own}}, "
        "key: {_id: {from: id, type: string}}, fields: {name: string}}"
    )
    code, output, _ = await run(
        *("inspect", "--from-beginning", "--limit", "1", "--json"),
        KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap_servers,
        SYNC_ROUTES_FILE=str(file),
    )
    assert code == 0
    assert json.loads(output)["topic"] == topic


@pytest.mark.integration
async def test_missing_configuration_is_one_sentence() -> None:
    code, _, errors = await run("run")
    assert code == 1
    assert errors.startswith("error: the configuration is not valid: ")
    assert "MYSQL_URL" in errors
    assert errors.count("\n") == 1


@pytest.mark.integration
async def test_invalid_routes_file_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("users: {topic: x}")
    code, _, errors = await run(
        "run",
        MYSQL_URL="mysql://a:b@127.0.0.1:1/tweets",
        MONGODB_URL="mongodb://127.0.0.1:1/tweets",
        KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
        AUTH_JWKS_URL="http://127.0.0.1:1/jwks.json",
        SYNC_ROUTES_FILE=str(file),
    )
    assert code == 1
    assert "route users" in errors
    assert "Traceback" not in errors


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run",), 1),
        (("routes", "migrate"), 1),
        (("routes", "migrate", "--apply"), 1),
        (("reconcile", "--route", "tweets"), 2),
        (("dead-letters", "retry", "--all"), 1),
    ],
)
async def test_schema_of_a_source_is_refused_in_one_sentence(arguments: tuple[str, ...], code: int) -> None:
    ended, output, errors = await run(
        *arguments,
        MYSQL_URL="mysql://a:b@127.0.0.1:1/auth",
        MONGODB_URL="mongodb://127.0.0.1:1/tweets",
        KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
        AUTH_JWKS_URL="http://127.0.0.1:1/jwks.json",
    )
    assert (ended, output) == (code, "")
    assert errors.startswith("error: MYSQL_URL names the schema auth, which is the source of route users: ")
    assert "$SYNC_MYSQL_URL" in errors
    assert errors.count("\n") == 1


@pytest.fixture
def own_routes(tmp_path: Path) -> Path:
    file = tmp_path / "routes.yaml"
    file.write_text(
        f"chairs:\n  topic: cdc.mongo.shop.chairs\n  target: {{store: mysql, table: chairs_{secrets.token_hex(4)}}}\n"
        "  key: {id: {from: _id, type: integer}}\n  fields:\n    name: string\n"
    )
    return file


def rewrite(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.integration
async def test_routes_check_reports_each_mistake_with_its_line(own_routes: Path) -> None:
    code, output, errors = await run("routes", "check", SYNC_ROUTES_FILE=str(own_routes))
    assert (code, output, errors) == (0, f"{own_routes}: 1 routes, nothing wrong\n", "")
    rewrite(own_routes, "name: string", "name: sting\n    size: huge")
    code, _, errors = await run("routes", "check", SYNC_ROUTES_FILE=str(own_routes))
    assert code == 1
    assert [line.partition(": Input")[0] for line in errors.splitlines()] == [
        f"error: {own_routes}:{number}: route chairs: fields.{field}.type"
        for number, field in ((6, "name"), (7, "size"))
    ]


@pytest.mark.integration
async def test_routes_list_is_a_table(own_routes: Path) -> None:
    code, output, _ = await run("routes", "list", SYNC_ROUTES_FILE=str(own_routes))
    header, line = output.splitlines()
    assert code == 0
    assert header.split() == ["NAME", "SOURCE", "TARGET", "STATE", "LAG"]
    assert line.split()[:2] == ["chairs", "mongodb:shop.chairs"]
    assert line.index("mongodb:") == header.index("SOURCE")


async def test_routes_explain_reads_a_line_of_inspect(kafka_bootstrap_servers: str, tmp_path: Path) -> None:
    topic = await topic_with_events(kafka_bootstrap_servers)
    _, output, _ = await run(
        *("inspect", "--topic", topic, "--from-beginning", "--limit", "1", "--json"),
        KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap_servers,
    )
    event, routes = tmp_path / "event.json", tmp_path / "routes.yaml"
    event.write_text(output)
    routes.write_text(
        f"own: {{topic: {topic}, target: {{store: mongodb, collection: own}}, "
        "key: {_id: {from: id, type: string}}, fields: {name: string}}"
    )
    code, output, errors = await run("routes", "explain", str(event), SYNC_ROUTES_FILE=str(routes))
    assert (code, errors) == (0, "")
    assert '{"_id": "u1"}' in output
    assert '{"name": "Ada"}' in output
    routes.write_text(routes.read_text().replace("name: string", "name: integer"))
    code, output, _ = await run("routes", "explain", str(event), SYNC_ROUTES_FILE=str(routes))
    assert code == 1
    assert "UnfitValue: name: a str that is no integer" in output
    code, _, errors = await run("routes", "explain", str(tmp_path / "none"), SYNC_ROUTES_FILE=str(routes))
    assert code == 1
    assert errors.startswith("error: ")
    assert "Traceback" not in errors


async def test_routes_migrate_prints_and_applies_missing_ddl(
    schema_url: str, engine: AsyncEngine, own_routes: Path
) -> None:
    variables = {"MYSQL_URL": schema_url, "SYNC_ROUTES_FILE": str(own_routes)}
    code, shown, errors = await run("routes", "migrate", **variables)
    assert (code, errors) == (0, "")
    assert shown.startswith("CREATE TABLE `chairs_")
    code, applied, _ = await run("routes", "migrate", "--apply", **variables)
    assert (code, applied) == (0, shown)
    assert await run("routes", "migrate", **variables) == (0, "-- nothing is missing\n", "")

    (route,) = load_routes(own_routes)
    async with engine.begin() as connection:
        await connection.execute(text(f"ALTER TABLE {route.target.name}_copy ADD COLUMN mine INT"))
    rewrite(own_routes, "name: string", "name: string\n    price: {type: decimal, precision: 9, scale: 2}")
    code, applied, _ = await run("routes", "migrate", "--apply", **variables)
    assert code == 0
    assert applied.startswith(f"ALTER TABLE `{route.target.name}_copy` ADD COLUMN `price` DECIMAL(9,2);\n")
    assert await run("routes", "migrate", **variables) == (0, "-- nothing is missing\n", "")
    async with engine.connect() as connection:
        look = f"SELECT * FROM {route.target.name}"  # noqa: S608 - a name of this file
        assert list((await connection.execute(text(look))).keys()) == ["id", "name", "price"]


@pytest.mark.integration
async def test_routes_migrate_without_mysql_is_one_sentence(own_routes: Path) -> None:
    variables = {"MYSQL_URL": "mysql://a:b@127.0.0.1:1/tweets", "SYNC_ROUTES_FILE": str(own_routes)}
    code, _, errors = await run("routes", "migrate", **variables)
    assert code == 1
    assert errors.startswith("error: MySQL: ")
    assert errors.count("\n") == 1
