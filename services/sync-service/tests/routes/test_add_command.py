"""`sync-service routes add` on real tables and collections."""

import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import create_engine
from support.commands import run_command
from support.mysql_accounts import account_of_schema
from sync_service.kafka.pauses import Registration
from sync_service.kafka.stops import Stops
from sync_service.routes.loader import default_routes_file, load_routes

run = partial(run_command, "sync-service")
CONVERSIONS = Path(__file__).parents[4] / "docs" / "conversions.md"
# The columns of docs/conversions.md that are no type of MySQL as they are written there.
COLUMNS = {"BIT(n)": "BIT(12)", "DATETIME(1…3)": "DATETIME(3)", "DATETIME(4…6)": "DATETIME(6)"}
COLUMNS |= {"VARCHAR": "VARCHAR(9)", "VARBINARY": "VARBINARY(9)", "ENUM": "ENUM('a')", "SET": "SET('a')"}
COLUMNS |= {"GEOMETRY, POINT …": "POINT"}


def documented() -> Mapping[str, str]:
    """The types of fields by the column, as the table `From MySQL` has them."""
    table = CONVERSIONS.read_text().partition("## From MySQL")[2].partition("\n\n|")[2].partition("\n\n")[0]
    rows = re.findall(r"^\|? ?`(.+?)` \| .+? \| `(\w+)`", table, re.MULTILINE)
    return dict(rows)


def content(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@pytest.fixture
async def shop(mysql_root: AsyncEngine) -> AsyncIterator[str]:
    """A database of MySQL, for one test."""
    name = f"shop_{secrets.token_hex(4)}"
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    yield name
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"DROP DATABASE {name}"))


@pytest.fixture
async def account(mysql_root: AsyncEngine, schema_url: str) -> AsyncIterator[str]:
    """The address of an account that may use the copies and nothing else."""
    async with account_of_schema(mysql_root, schema_url, "ALL") as address:
        yield address


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yaml"
    path.write_text(default_routes_file().read_text(encoding="utf-8"), encoding="utf-8")
    return path


@pytest.fixture
def variables(account: str, database_url: str, mysql_root_url: str, mongodb_url: str, file: Path) -> dict[str, str]:
    return {
        "SYNC_MYSQL_URL": account,
        "MONGODB_URL": database_url,
        "MYSQL_ROOT_URL": mysql_root_url,
        "MONGODB_ADMIN_URL": mongodb_url,
        "SYNC_ROUTES_FILE": str(file),
    }


async def test_each_column_gets_the_type_that_the_documentation_names(
    mysql_root: AsyncEngine, shop: str, variables: dict[str, str]
) -> None:
    kinds = documented()
    assert len(kinds) > 35
    columns = [f"c{number} {COLUMNS.get(kind, kind)} NULL" for number, kind in enumerate(kinds)]
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"CREATE TABLE {shop}.t (id INT PRIMARY KEY, {', '.join(columns)})"))
    code, output, errors = await run("routes", "add", f"mysql:{shop}.t", "--json", **variables)
    assert (code, errors) == (0, "")
    lines = json.loads(output)["declaration"]
    for number, (kind, field) in enumerate(kinds.items()):
        if kind == "DATETIME(4…6)":
            # The documented type cuts microseconds off.
            assert re.search(rf"^    c{number}: string  #", lines, re.MULTILINE)
        elif kind.startswith("GEOMETRY"):
            assert f"# not copied: c{number}: point" in lines
        else:
            assert re.search(rf"^    c{number}: ({field}|{{type: {field}[,}}].*)  #", lines, re.MULTILINE), kind


async def test_route_is_added_with_its_rights(
    mysql_root: AsyncEngine, shop: str, account: str, variables: dict[str, str], file: Path
) -> None:
    async with mysql_root.begin() as connection:
        await connection.execute(
            text(
                f"CREATE TABLE {shop}.products (shop VARCHAR(9), sku INT, price DECIMAL(9,2), PRIMARY KEY (sku, shop))"
            )
        )
    code, output, errors = await run("routes", "add", f"mysql:{shop}.products", "--apply", **variables)
    assert (code, errors) == (0, f"{file}: route products is added, and runs within some seconds\n"), output
    assert f"GRANT SELECT ON `{shop}`.`products`" in output
    route = next(route for route in load_routes(file) if route.name == "products")
    assert (route.topic, route.target.place) == (f"cdc.mysql.{shop}.products", f"{shop}.products")
    assert list(route.key) == ["sku", "shop"]
    engine = create_engine(account)
    async with engine.connect() as connection:
        assert await connection.scalar(text(f"SELECT COUNT(*) FROM {shop}.products")) == 0  # noqa: S608 - of the test
    await engine.dispose()
    code, output, errors = await run("routes", "check", "--offline", **variables)
    assert (code, output) == (0, f"{file}: 5 routes, nothing wrong\n"), errors
    code, _, errors = await run("routes", "add", f"mysql:{shop}.products", "--apply", **variables)
    assert (code, errors) == (1, f"error: a route of {shop}.products is there already\n")


async def test_route_of_the_topic_of_a_dropped_one_is_not_paused(
    mysql_root: AsyncEngine, shop: str, variables: dict[str, str], file: Path, engine: AsyncEngine
) -> None:
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"CREATE TABLE {shop}.t (id INT PRIMARY KEY)"))
    topic, stops, process = f"cdc.mysql.{shop}.t", Stops(engine), Registration(engine)
    assert await stops.note_drop(await stops.pause(topic, "ada"), "former")
    await process.renew([topic])
    before = content(file)
    code, _, errors = await run("routes", "add", f"mysql:{shop}.t", "--apply", **variables)
    assert (code, errors.startswith(f"error: former is dropped, and the pause of its topic {topic} stays")) == (1, True)
    assert content(file) == before
    await process.close()
    code, _, errors = await run("routes", "add", f"mysql:{shop}.t", "--apply", **variables)
    assert (code, errors) == (0, f"{file}: route t is added, and runs within some seconds\n")
    await stops.refresh()
    assert stops.pause_of(topic) is None


async def test_without_an_administrator_the_rights_are_left_to_the_reader(
    mysql_root: AsyncEngine, shop: str, account: str, variables: dict[str, str], file: Path
) -> None:
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"CREATE TABLE {shop}.t (id INT PRIMARY KEY)"))
        # To be described, the table must be visible.
        await connection.execute(text(f"GRANT SELECT ON {shop}.t TO {make_url(account).username}"))
    del variables["MYSQL_ROOT_URL"]
    before = content(file)
    command = ("routes", "add", f"mysql:{shop}.t", "--apply")
    code, output, errors = await run(*command, **variables)
    assert code == 3
    assert f"GRANT SELECT ON `{shop}`.`t` TO 'debezium'@'%';" in output
    assert errors == "error: set MYSQL_ROOT_URL to grant the rights above; or grant them, and add --granted\n"
    assert content(file) == before
    code, _, errors = await run(*command, "--granted", **variables)
    assert (code, errors) == (0, f"{file}: route t is added, and runs within some seconds\n")
    assert content(file) != before


@pytest.mark.parametrize(
    ("created", "reason"),
    [
        (None, "there is no table {shop}.t, or this account may not read it"),
        ("CREATE TABLE {shop}.t (id INT)", "{shop}.t has no primary key, which tells its rows apart in the copy"),
        ("CREATE VIEW {shop}.t AS SELECT 1", "{shop}.t is a view: only tables have change events"),
        ("CREATE TABLE {shop}.t (d TEXT, PRIMARY KEY (d(9)))", "{shop}.t: _id: text is no type of a key"),
    ],
)
async def test_table_that_can_not_be_copied(
    mysql_root: AsyncEngine, shop: str, variables: dict[str, str], created: str | None, reason: str
) -> None:
    if created is not None:
        async with mysql_root.begin() as connection:
            await connection.execute(text(created.format(shop=shop)))
    file = Path(variables["SYNC_ROUTES_FILE"])
    before = content(file)
    code, output, errors = await run("routes", "add", f"mysql:{shop}.t", "--apply", **variables)
    assert (code, output) == (1, "")
    assert errors.startswith(f"error: {reason.format(shop=shop)}")
    assert content(file) == before


async def test_collection_is_described_by_its_documents(variables: dict[str, str], file: Path) -> None:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(variables["MONGODB_URL"])
    name = f"shop_{secrets.token_hex(4)}"
    try:
        await client[name]["orders"].insert_many(
            [
                {"_id": {"shop": "a", "n": 1}, "total": Int64(1), "of": ObjectId(), "price": Decimal128("1"), "x": 1},
                {"_id": {"shop": "a", "n": 2}, "total": 1.5, "of": ObjectId(), "price": None, "x": "1"},
            ]
        )
        code, output, errors = await run("routes", "add", f"mongodb:{name}.orders", "--apply", **variables)
        assert (code, errors) == (0, f"{file}: route orders is added, and runs within some seconds\n")
        source = name.replace("_", "-")
        assert f"  mongodb-{source}: {{kind: mongodb, database: {name}}}\n" in output
        assert "    shop: {from: _id.shop, type: string, length: 255}  # string\n" in output
        assert "    n: {from: _id.n, type: integer}  # int\n" in output
        assert "    total: number  # double 50 %, int 50 %\n" in output
        assert "    of: {type: string, length: 24}  # objectId\n" in output
        assert "    price: decimal  # decimal 50 %, null 50 %\n" in output
        assert "    x: json  # int 50 %, string 50 %\n" in output
        assert f"CREATE TABLE `{name}`.`orders_copy`" in output
        route = next(route for route in load_routes(file) if route.name == "orders")
        assert route.topic == f"cdc.mongodb-{source}.{name}.orders"
        await client[name]["lines"].insert_one({"_id": {"order": 1, "line": 1}})
        code, output, errors = await run("routes", "add", f"mongodb:{name}.lines", "--apply", **variables)
        assert (code, errors.splitlines()[-1]) == (3, "Then run: sync-service routes backfill lines")
        assert "leaves out documents with an _id of type object:\nsync-service routes backfill lines\n" in output
        await client[name]["mixed"].insert_many([{"_id": 1}, {"_id": "1"}])
        code, _, errors = await run("routes", "add", f"mongodb:{name}.mixed", **variables)
        assert (code, errors) == (1, f"error: the _id of {name}.mixed has several types (int 50 %, string 50 %)\n")
        code, _, errors = await run("routes", "add", f"mongodb:{name}.none", **variables)
        assert code == 1
        assert "has no documents, or does not exist" in errors
    finally:
        await client.drop_database(name)
        client.close()


@pytest.mark.integration
@pytest.mark.parametrize("place", ["shop.products", "oracle:shop.products", "mysql:products"])
async def test_place_of_another_form(place: str) -> None:
    code, _, errors = await run("routes", "add", place)
    assert code == 2
    assert f"'{place}' is not of the form" in errors
