"""`sync-service reconcile` as a process: exit codes, text, JSON and progress."""

import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pymongo
import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from embedded_stack import Stack
from service_kit.mysql import create_engine
from support.change_events import mysql_event
from support.commands import run_command
from support.topics import create_topics
from sync_service.routes.loader import empty_routes_file

run = partial(run_command, "sync-service")


@dataclass(frozen=True)
class Shop:
    """A user's own route: a table of things with a key of two columns, and its copy."""

    variables: dict[str, str]
    mysql_root_url: str
    schema: str
    collection: "pymongo.collection.Collection[dict[str, Any]]"

    async def execute(self, statement: str) -> None:
        engine = create_engine(self.mysql_root_url)
        async with engine.begin() as connection:
            await connection.execute(text(statement.format(f"{self.schema}.things")))
        await engine.dispose()


@pytest.fixture
async def shop(
    mysql_root_url: str, mongodb_url: str, kafka_bootstrap_servers: str, schema_url: str, tmp_path: Path
) -> AsyncIterator[Shop]:
    schema = f"shop_{secrets.token_hex(4)}"
    topic = f"test.{schema}.things"
    file = tmp_path / "routes.yaml"
    file.write_text(
        f"things: {{topic: {topic}, target: {{store: mongodb, collection: things}}, "
        "key: {shelf: integer, name: string}, fields: {price: decimal, tags: json_text, kind: {constant: thing}}}"
    )
    await create_topics(kafka_bootstrap_servers, topic)
    url = mongodb_url.replace("/?", f"/{schema}?")
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        variables = {
            "MYSQL_URL": schema_url,
            "MONGODB_URL": url,
            "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
            "SYNC_ROUTES_FILE": str(file),
            "SYNC_GROUP_ID": f"test-{schema}",
        }
        shop = Shop(variables, mysql_root_url, schema, client[schema]["things_copy"])
        engine = create_engine(mysql_root_url)
        async with engine.begin() as connection:
            await connection.execute(text(f"CREATE DATABASE {schema}"))
        await engine.dispose()
        await shop.execute(
            "CREATE TABLE {} (shelf INTEGER, name VARCHAR(40) COLLATE utf8mb4_bin, price DECIMAL(10, 2), tags JSON, "
            "PRIMARY KEY (shelf, name))"
        )
        await shop.execute(
            "INSERT INTO {} VALUES "
            "(-1, 'ä', 1.50, '[1, 2.0]'), (2, 'a', NULL, NULL), (2, 'b', 10, '{{}}'), (10, 'a', 0, 'null')"
        )
        yield shop
        client.drop_database(schema)
        await shop.execute("DROP TABLE {}")


async def test_copy_is_repaired_and_agrees_afterwards(shop: Shop) -> None:
    code, output, errors = await run("reconcile", **shop.variables)
    assert (code, errors) == (1, "")
    assert "4 rows compared" in output
    assert "4 missing" in output
    assert shop.schema in output

    code, output, _ = await run("reconcile", "--repair", "--json", **shop.variables)
    report = json.loads(output)
    assert (code, report["is_in_agreement"]) == (0, True)
    (route,) = report["routes"]
    assert (route["rows"], route["missing"], route["mended"], route["unsettled"]) == (4, 4, 4, 0)
    assert route["seconds"] > 0
    assert all(example["outcome"] == "mended" for example in route["examples"])
    document = shop.collection.find_one({"_id": {"shelf": -1, "name": "ä"}})
    assert document is not None
    assert (str(document["price"]), document["tags"], document["kind"]) == ("1.50", [1, 2.0], "thing")

    code, output, errors = await run("reconcile", "--route", "things", **shop.variables)
    assert (code, errors) == (0, "")
    assert "the copy agrees with its source" in output


async def test_backfill_copies_missing_rows_and_no_others(shop: Shop) -> None:
    other = shop.collection.insert_one({"_id": {"shelf": 3, "name": "extra"}, "price": None, "tags": None})
    shop.collection.insert_one({"_id": {"shelf": 2, "name": "b"}, "price": None, "tags": 1, "kind": "other"})
    code, output, errors = await run("routes", "backfill", "things", "--json", **shop.variables)
    assert code == 1, errors
    (report,) = json.loads(output)["routes"]
    assert (report["rows"], report["missing"], report["mended"]) == (4, 3, 3)
    assert (report["extra"], report["different"]) == (1, 1)
    assert {each["id"]["name"] for each in shop.collection.aggregate([{"$project": {"_id": 0, "id": "$_id"}}])} == {
        *("ä", "a", "b", "extra")
    }
    kept = shop.collection.find_one({"_id": {"shelf": 2, "name": "b"}})
    assert kept is not None
    assert kept["kind"] == "other"

    shop.collection.delete_many({"_id": {"$in": [other.inserted_id, kept["_id"], {"shelf": 10, "name": "a"}]}})
    code, output, errors = await run("routes", "backfill", "things", **shop.variables)
    assert (code, errors) == (0, "")
    assert "2 missing, 2 mended" in output


async def test_backfill_of_an_unknown_route_names_the_known_ones(shop: Shop) -> None:
    code, output, errors = await run("routes", "backfill", "thongs", **shop.variables)
    assert (code, output) == (2, "")
    assert errors == "error: there is no route thongs; the routes are things\n"


async def test_comparison_without_a_running_sync_names_the_remedy(shop: Shop) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=shop.variables["KAFKA_BOOTSTRAP_SERVERS"])
    async with producer:
        _, value = mysql_event({"id": 1, "shelf": 2, "name": "b"}, pos=7)
        await producer.send_and_wait(f"test.{shop.schema}.things", key=b'{"shelf": 2, "name": "b"}', value=value)
    code, output, errors = await run("reconcile", "--patience", "1", **shop.variables)
    assert code == 2
    assert "unsettled (the sync makes no progress)" in output
    assert errors.splitlines()[-1].endswith("is sync-service running?")


async def test_corrupted_row_is_reported(shop: Shop) -> None:
    await run("reconcile", "--repair", **shop.variables)
    shop.collection.update_one({"_id": {"shelf": 2, "name": "b"}}, {"$set": {"tags": {"x": True}, "kind": "other"}})
    code, output, _ = await run("reconcile", "--sample", "1", "--json", **shop.variables)
    (route,) = json.loads(output)["routes"]
    (example,) = route["examples"]
    assert (code, route["different"], route["is_sample"]) == (1, 1, True)
    assert (example["key"], example["fields"], example["outcome"]) == (
        [{"shelf": 2, "name": "b"}],
        ["tags", "kind"],
        "different",
    )


async def test_progress_is_json_for_a_program(shop: Shop) -> None:
    _, _, errors = await run("reconcile", "--json", **shop.variables)
    begun, *_ = map(json.loads, errors.splitlines())
    assert (begun["route"], begun["done"]) == ("things", 0)


def add_route(shop: Shop, declared: str) -> None:
    file = Path(shop.variables["SYNC_ROUTES_FILE"])
    file.write_text(f"{declared}\n{file.read_text()}")


async def test_route_that_can_not_be_compared_does_not_end_the_others(shop: Shop) -> None:
    lost = (
        "lost: {topic: test.nowhere.lost, target: {store: mongodb, collection: lost}, key: {_id: integer}, fields: {}}"
    )
    add_route(shop, lost)
    code, output, errors = await run("reconcile", "--repair", **shop.variables)
    assert code == 2
    assert "lost: not compared: route lost: MySQL shows no table nowhere.lost" in output
    assert "4 missing, 4 mended" in output
    assert errors.splitlines()[-1].startswith("error: lost: route lost: MySQL shows no table")
    code, output, _ = await run("reconcile", "--json", **shop.variables)
    report = json.loads(output)
    assert (code, report["is_in_agreement"]) == (2, False)
    lost, things = report["routes"]
    assert (lost["problem"] is None, lost["is_in_agreement"]) == (False, False)
    assert (things["problem"], things["is_in_agreement"]) == (None, True)


async def test_row_that_another_program_has_written_is_compared_and_repaired(shop: Shop) -> None:
    await run("reconcile", "--repair", **shop.variables)
    shop.collection.insert_one({"_id": {"shelf": {"b": 1}, "name": "x"}})
    written = shop.collection.find_one({"_id.shelf": {"$type": "number"}})
    assert written is not None
    version = {"stream": "by hand", "offset": "", "epoch": "1", "position": "1@x-y"}
    shop.collection.update_one({"_id": written["_id"]}, {"$set": {"price": None, "_sync": version}})
    code, output, errors = await run("reconcile", "--repair", **shop.variables)
    assert "2 mended" in output, errors
    assert code == 0
    assert shop.collection.count_documents({"_sync.deleted_at": None}) == 4


async def test_repair_of_too_many_rows_is_exit_code_2(shop: Shop) -> None:
    code, output, errors = await run("reconcile", "--repair", "--max-repairs", "3", **shop.variables)
    assert code == 2
    assert "things: 4 rows to repair, of at most 3" in errors
    assert "nothing was changed: the repair would change 4 rows" in output
    assert errors.splitlines()[-1].startswith("error: nothing was changed: the repair would change 4 rows")
    assert shop.collection.count_documents({}) == 0
    code, _, _ = await run("reconcile", "--repair", "--max-repairs", "4", **shop.variables)
    assert (code, shop.collection.count_documents({})) == (0, 4)


@pytest.mark.parametrize(
    ("changed", "arguments", "why"),
    [
        ({"MYSQL_URL": "mysql://a:b@127.0.0.1:1/tweets"}, (), "MySQL can't be read"),
        ({"MONGODB_URL": "mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=300"}, (), "MongoDB can't be read"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, (), "the broker at 127.0.0.1:1 does not answer"),
        ({}, ("--route", "none"), "there is no route none; the routes are things"),
        ({"SYNC_ROUTES_FILE": "/no/such/file"}, (), "/no/such/file"),
        ({"MYSQL_URL": "nonsense"}, (), "MYSQL_URL"),
    ],
)
async def test_impossible_comparison_is_one_sentence_and_exit_code_2(
    shop: Shop, changed: dict[str, str], arguments: tuple[str, ...], why: str
) -> None:
    code, output, errors = await run("reconcile", *arguments, **{**shop.variables, **changed})
    assert (code, output) == (2, "")
    assert why in errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1


async def test_account_of_the_sync_may_read_only_what_it_copies(mysql_root_url: str, stack: Stack) -> None:
    engine = create_engine(stack.addresses["SYNC_MYSQL_URL"])
    root = create_engine(mysql_root_url)
    async with root.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS auth.sync_may_not_see_this (id INTEGER)"))
    try:
        async with engine.connect() as connection:
            # There may be no such table yet; the right to read it is there already.
            try:
                await connection.execute(text("SELECT id FROM auth.users LIMIT 1"))
            except ProgrammingError as error:
                assert "1146" in str(error)  # noqa: PT017 - either outcome is right
            for statement in (
                "SELECT * FROM auth.sync_may_not_see_this",
                "CREATE TABLE auth.users (id INTEGER)",
                "DELETE FROM auth.users",
            ):
                with pytest.raises(OperationalError, match="1142"):
                    await connection.execute(text(statement))
    finally:
        async with root.begin() as connection:
            await connection.execute(text("DROP TABLE auth.sync_may_not_see_this"))
        await engine.dispose()
        await root.dispose()


@pytest.mark.integration
async def test_file_without_routes_has_nothing_to_compare() -> None:
    variables = {
        "MYSQL_URL": "mysql://sync:phrase@127.0.0.1:1/tandem",
        "MONGODB_URL": "mongodb://127.0.0.1:1/tandem",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "SYNC_ROUTES_FILE": str(empty_routes_file()),
    }
    assert await run("reconcile", **variables) == (0, "there are no routes to compare\n", "")
    code, output, errors = await run("reconcile", "--json", **variables)
    assert (code, json.loads(output)["routes"], errors) == (0, [], "")
