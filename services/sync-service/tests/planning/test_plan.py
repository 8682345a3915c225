"""`sync-service routes plan`: what a changed routes file would do, on real stores and a real broker."""

import json
import secrets
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiokafka import AIOKafkaProducer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.change_events import mongodb_event, mysql_event
from support.commands import run_command
from support.topics import create_topics

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]

run = partial(run_command, "sync-service")
PRODUCT_ROWS = 12
AMOUNT = {"expr": "int(count)", "type": "integer"}
NO_AMOUNT = "amount: int(count): a function refuses its value"


@pytest.fixture
async def shop(mysql_root: AsyncEngine) -> AsyncIterator[str]:
    """A database of MySQL with products: ten with a count as text, one without a number, one that is not sold."""
    name = f"shop_{secrets.token_hex(4)}"
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
        await connection.execute(
            text(
                f"CREATE TABLE {name}.products (sku VARCHAR(9) COLLATE utf8mb4_bin PRIMARY KEY, name VARCHAR(90), "
                "count VARCHAR(9), buyer VARCHAR(90), sold TINYINT(1))"
            )
        )
        for number in range(PRODUCT_ROWS):
            count = "many" if number == 3 else str(number)
            await connection.execute(
                text(
                    f"INSERT INTO {name}.products VALUES "  # noqa: S608 - a name of ours
                    f"('p{number:02}', 'Chair {number}', '{count}', 'Ada {number}', {number != 5})"
                )
            )
    yield name
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"DROP DATABASE {name}"))


def products(topic: str, **changed: Any) -> dict[str, Any]:
    fields = {"title": {"from": "name", "type": "string"}, "count": "string"}
    fields |= {"buyer": {"type": "string", "personal": True}, "sold": "boolean"}
    return {
        "topic": topic,
        "target": {"store": "mongodb", "collection": f"c_{secrets.token_hex(4)}"},
        "key": {"_id": {"from": "sku", "type": "string"}},
        "fields": fields,
        **changed,
    }


class Files:
    """The live file and a changed one, with the variables of the command."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.live, self.changed = folder / "routes.yaml", folder / "changed.yaml"
        self._variables = {"SYNC_ROUTES_FILE": str(self.live), **variables}

    async def plan(
        self, live: dict[str, Any], changed: dict[str, Any], *options: str, **variables: str
    ) -> tuple[int, str, str]:
        """Exit code, output and errors."""
        self.live.write_text(yaml.safe_dump(live, sort_keys=False))
        self.changed.write_text(yaml.safe_dump(changed, sort_keys=False))
        return await run("routes", "plan", str(self.changed), *options, **{**self._variables, **variables})

    async def migrate(self, live: dict[str, Any]) -> None:
        """Create the tables of the live routes."""
        self.live.write_text(yaml.safe_dump(live, sort_keys=False))
        assert (await run("routes", "migrate", "--apply", **self._variables))[0] == 0


@pytest.fixture
def files(tmp_path: Path, schema_url: str, database_url: str, kafka_bootstrap_servers: str) -> Files:
    variables = {"MYSQL_URL": schema_url, "MONGODB_URL": database_url}
    return Files(tmp_path, {**variables, "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers})


async def send(bootstrap_servers: str, topic: str, *records: tuple[bytes, bytes | None]) -> None:
    await create_topics(bootstrap_servers, topic)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers) as producer:
        for key, value in records:
            await producer.send_and_wait(topic, key=key, value=value)


def product_event(number: int, count: str) -> tuple[bytes, bytes | None]:
    row = {"sku": f"p{number:02}", "name": "Chair", "count": count, "buyer": "Ada", "sold": 1}
    _, value = mysql_event({"id": "-", **row})
    return json.dumps({"sku": row["sku"]}).encode(), value


async def test_changed_route_is_planned_and_nothing_is_written(
    files: Files, shop: str, database: "Database", kafka_bootstrap_servers: str
) -> None:
    topic = f"test.{secrets.token_hex(4)}.{shop}.products"
    events = [product_event(number, "1") for number in range(3)]
    events += [product_event(4, "many"), product_event(5, "lots"), (b"broken", b"broken"), (events[0][0], None)]
    await send(kafka_bootstrap_servers, topic, *events)
    live = products(topic)
    changed = {**live, "where": "sold", "indexes": [["title"]]}
    changed["fields"] = {**live["fields"], "amount": AMOUNT, "note": {"constant": "new"}}
    written, collections = {"products": live}, await database.list_collection_names()

    code, output, errors = await files.plan(written, {"products": changed}, "--json")
    assert (code, errors) == (1, "")
    (route,) = (plan := json.loads(output))["routes"]
    assert (plan["loses_data"], plan["is_complete"], plan["sources"]) == (True, True, [])
    assert (route["change"], route["parts"]) == ("changed", ["fields.amount", "fields.note", "where", "indexes"])
    collection = live["target"]["collection"]
    assert f'createCollection("{collection}_copy")' in route["statements"][0]
    assert 'createIndex({"title": 1}' in route["statements"][1]
    assert f'createView("{collection}", "{collection}_copy"' in route["statements"][-1]
    rows = {name: each for name, each in route["rows"].items() if name != "reasons"}
    assert rows == {
        "read": PRODUCT_ROWS,
        "total": PRODUCT_ROWS,
        "is_complete": True,
        "changed": 10,
        "added": 0,
        "removed": 1,
        "unchanged": 0,
        "unfit": 1,
        "unfit_already": 0,
    }
    assert route["rows"]["reasons"] == [{"reason": NO_AMOUNT, "rows": 1}]
    assert {name: each for name, each in route["events"].items() if name != "reasons"} == {
        "read": len(events),
        "total": len(events),
        "dead_letters": 2,
        "dead_letters_already": 1,
    }
    assert route["events"]["reasons"] == [
        {"reason": f"UnfitValue: {NO_AMOUNT}", "events": 2, "example": f"{topic}-0@3"}
    ]
    samples = {sample["kind"]: sample for sample in route["samples"]}
    assert len(route["samples"]) == 10
    before = {"title": "Chair 0", "count": "0", "buyer": "[personal]", "sold": True}
    assert samples.keys() == {"changed", "removed", "unfit"}
    assert next(each for each in route["samples"] if each["kind"] == "changed") == {
        "kind": "changed",
        "key": {"_id": "p00"},
        "before": before,
        "after": {**before, "amount": 0, "note": "new"},
        "fields": ["amount", "note"],
        "reason": None,
    }
    assert (samples["removed"]["key"], samples["removed"]["after"]) == ({"_id": "p05"}, None)
    assert samples["unfit"]["reason"] == NO_AMOUNT
    assert "Ada" not in output

    assert await database.list_collection_names() == collections
    assert yaml.safe_load(files.live.read_text()) == written

    code, output, _ = await files.plan(written, {"products": changed})
    assert code == 1
    for line in (
        "products: changed (fields.amount, fields.note, where, indexes)",
        f"  {PRODUCT_ROWS} of {PRODUCT_ROWS} rows read: 10 changed, 0 added, 1 removed, 0 unchanged, 1 unfit",
        f"    1 x {NO_AMOUNT}",
        f"  {len(events)} of {len(events)} retained events read: 2 would become dead letters, and 1 are now, too",
        f"    2 x UnfitValue: {NO_AMOUNT} (such as {topic}-0@3)",
        '  ~ changed {"_id": "p00"}',
        "      amount: none -> 0",
    ):
        assert line in output.splitlines()
    assert "Ada" not in output


async def test_limits_bound_what_is_read(files: Files, shop: str, kafka_bootstrap_servers: str) -> None:
    topic = f"test.{secrets.token_hex(4)}.{shop}.products"
    await send(kafka_bootstrap_servers, topic, *(product_event(4, "many") for _ in range(2)), product_event(1, "1"))
    live = products(topic)
    changed = {**live, "fields": {**live["fields"], "amount": AMOUNT}}
    options = ("--rows", "2", "--events", "1", "--json")
    code, output, errors = await files.plan({"products": live}, {"products": changed}, *options)
    assert (code, errors) == (0, "")
    (route,) = json.loads(output)["routes"]
    rows, events = route["rows"], route["events"]
    assert (rows["read"], rows["changed"], rows["is_complete"], rows["total"] > 2) == (2, 2, False, True)
    # The newest event, which is right.
    assert (events["read"], events["total"], events["dead_letters"]) == (1, 3, 0)


async def test_values_that_an_existing_column_refuses_are_found(
    files: Files, database: "Database", engine: AsyncEngine, kafka_bootstrap_servers: str
) -> None:
    source, name = f"source_{secrets.token_hex(4)}", f"t_{secrets.token_hex(4)}"
    topic, orders = f"test.{source}.orders", database.client[source]["orders"]
    live = {
        "topic": topic,
        "target": {"store": "mysql", "table": name},
        "key": {"id": {"from": "_id", "type": "string"}},
        "fields": {"amount": {"from": "number", "type": "integer"}, "note": {"type": "string", "length": 5}},
    }
    await files.migrate({"orders": live})
    fields = {"amount": {"from": "text", "type": "string"}, "note": {"type": "string", "length": 50}}
    changed = {**live, "fields": {**fields, "label": {"from": "note", "type": "string", "length": 3}}}
    documents = [
        {"_id": f"o{number}", "number": number, "text": value, "note": note}
        for number, (value, note) in enumerate([("0", "abc"), ("7", "abc"), ("many", "abc"), ("3", "abcd")])
    ]
    await orders.insert_many(documents)
    events = (mongodb_event({**document, "_id": document["_id"]}) for document in documents)
    await send(kafka_bootstrap_servers, topic, *events)
    try:
        code, output, errors = await files.plan({"orders": live}, {"orders": changed}, "--json")
    finally:
        await database.client.drop_database(source)
    assert (code, errors) == (1, "")
    (route,) = json.loads(output)["routes"]
    assert route["statements"][0] == f"ALTER TABLE `{name}_copy` ADD COLUMN `label` VARCHAR(3)"
    assert len(route["statements"]) == 2
    refused = {
        "amount: the column is BIGINT, and it is no number": 1,
        "label: it has 4 characters, and the column is VARCHAR(3)": 1,
    }
    rows, events_found = route["rows"], route["events"]
    assert {each["reason"]: each["rows"] for each in rows["reasons"]} == refused
    assert (rows["unfit"], rows["changed"]) == (2, 2)
    assert {each["reason"]: each["events"] for each in events_found["reasons"]} == refused
    async with engine.connect() as connection:
        columns = (await connection.execute(text(f"SHOW COLUMNS FROM {name}_copy"))).scalars().all()
    assert "label" not in columns


async def test_column_of_another_kind_is_not_determined(files: Files, shop: str) -> None:
    fields = {"sold": "datetime", "title": {"from": "name", "type": "string"}}
    live = {
        "topic": f"test.{secrets.token_hex(4)}.{shop}.orders",
        "target": {"store": "mysql", "table": f"t_{secrets.token_hex(4)}"},
        "key": {"id": {"from": "_id", "type": "string"}},
        "fields": fields,
    }
    await files.migrate({"orders": live})
    changed = {"orders": {**live, "fields": {**fields, "sold": "string"}}}
    code, output, errors = await files.plan({"orders": live}, changed, "--json")
    (route,) = json.loads(output)["routes"]
    problem = "column sold is DATETIME(6): not determined whether it takes the values of VARCHAR(255)"
    assert (code, route["problems"]) == (2, [problem])
    assert problem in errors


async def test_new_removed_and_unchanged_routes(files: Files, shop: str) -> None:
    kept = products(f"test.{secrets.token_hex(4)}.{shop}.absent")
    added = products(f"test.{secrets.token_hex(4)}.{shop}.products")
    live = {"kept": kept, "gone": products("test.gone.shop.gone")}
    code, output, errors = await files.plan(live, {"kept": kept, "new": added}, "--json")
    assert (code, errors) == (0, "")
    routes = {route["name"]: route for route in json.loads(output)["routes"]}
    assert {name: route["change"] for name, route in routes.items()} == {
        "kept": "unchanged",
        "new": "new",
        "gone": "removed",
    }
    assert routes["kept"]["rows"] is None
    assert (routes["new"]["rows"]["added"], routes["new"]["rows"]["unfit"]) == (PRODUCT_ROWS, 0)
    assert routes["new"]["notes"] == [f"the topic {added['topic']} does not exist yet"]
    assert routes["gone"]["notes"][0].startswith("the copy and the topic stay")


async def test_wrong_file_is_refused_with_line_and_reason(files: Files) -> None:
    live = {"products": products("test.wrong.shop.products")}
    wrong = {"products": {**live["products"], "where": "nothing == 1"}}
    code, output, errors = await files.plan(live, wrong)
    assert (code, output) == (1, "")
    line = files.changed.read_text().splitlines().index("  where: nothing == 1") + 1
    assert errors.startswith(f"error: {files.changed}:{line}: route products: ")
    assert "nothing is no field" in errors

    shared = {name: products(f"test.wrong.shop.{name}") for name in ("one", "two")}
    shared["one"]["target"]["collection"] = "wrong_copy"
    shared["two"]["target"]["collection"] = "wrong"
    code, output, errors = await files.plan(live, shared)
    assert (code, output) == (1, "")
    line = files.changed.read_text().splitlines().index("two:") + 3
    assert errors.startswith(f"error: {files.changed}:{line}: route two: target: both this route and route one need")


async def test_what_can_not_be_read_is_named(files: Files, shop: str) -> None:
    live = {"products": products(f"test.{secrets.token_hex(4)}.{shop}.absent")}
    changed = {"products": {**live["products"], "on_new_field": "ignore"}}
    code, output, errors = await files.plan(live, changed, "--json", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert code == 2
    (route,) = json.loads(output)["routes"]
    rows, events = route["problems"]
    assert rows == f"rows: MySQL shows no table {shop}.absent; it does not exist, or this account may not read it"
    assert events.startswith("events: ")
    assert errors.startswith(f"error: not determined: products: {rows}; products: events: ")
