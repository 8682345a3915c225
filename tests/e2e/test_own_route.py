"""A route for a new table needs YAML: what docs/adding-a-route.md says, taken from there."""

import json
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded_stack import Stack
from service_kit.mysql import create_engine
from support.commands import run_command
from support.connector import run_declared
from support.polling import eventually
from support.replicas import running_processes
from sync_service.routes.loader import load_routes
from sync_service.sinks.mysql.ddl import missing

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-route.md").read_text()


def blocks(language: str) -> list[str]:
    """What the page shows in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
async def mysql(mysql_root_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(mysql_root_url)
    async with engine.begin() as connection:
        for statement in blocks("sql")[0].split(";"):
            if statement.strip():
                await connection.execute(text(statement))
    yield engine
    async with engine.begin() as connection:
        await connection.execute(text("DROP DATABASE shop"))
        await connection.execute(text("DROP DATABASE IF EXISTS shop_copy"))
    await engine.dispose()


@pytest.fixture
async def mongo(mongodb_url: str) -> "AsyncIterator[AsyncIOMotorClient[dict[str, Any]]]":
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(mongodb_url, tz_aware=True)
    yield client
    for name in ("shop", "shop_copy"):
        await client.drop_database(name)
    client.close()


def test_page_shows_the_tables_that_are_created(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(blocks("yaml")[0])
    orders = next(route for route in load_routes(file) if route.name == "orders")
    shown = next(block for block in blocks("console") if "routes migrate" in block).partition("routes migrate\n")[2]
    database, _, tables = shown.partition("\n")
    assert database == "CREATE DATABASE `shop_copy` CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci;"
    assert tables == "".join(f"{statement};\n" for statement in missing(orders, {}))


async def test_own_table_and_own_collection_are_copied_both_ways(
    stack: Stack,
    kafka_bootstrap_servers: str,
    mysql: AsyncEngine,
    mongo: "AsyncIOMotorClient[dict[str, Any]]",
    tmp_path: Path,
) -> None:
    (routes,) = blocks("yaml")
    (order,) = map(json.loads, blocks("json"))
    file = tmp_path / "routes.yaml"
    file.write_text(routes)
    order = json_util.loads(json.dumps(order))

    async def execute(statement: str) -> None:
        async with mysql.begin() as connection:
            await connection.execute(text(statement))

    async def products() -> dict[str, dict[str, Any]]:
        return {row["_id"]["sku"]: row async for row in mongo["shop_copy"]["products"].find()}

    async def orders() -> dict[int, dict[str, Any]]:
        async with mysql.connect() as connection:
            there = (
                "SELECT COUNT(*) FROM information_schema.views "
                "WHERE table_schema = 'shop_copy' AND table_name = 'orders'"
            )
            if not await connection.scalar(text(there)):
                return {}
            rows = await connection.execute(text("SELECT * FROM shop_copy.orders"))
            return {row.number: dict(row._mapping) for row in rows}

    # What is there before, and comes by snapshot.
    into = "INSERT INTO shop.products (shop, sku, name, price, released, tags, margin) VALUES"
    await execute(f"{into} ('berlin', 'chair', 'Stühlchen', 9.50, '2026-11-24', '[\"wood\"]', 0.25)")
    await mongo["shop"]["orders"].insert_one(order)
    variables = {
        "MYSQL_URL": stack.addresses["SYNC_MYSQL_URL"],
        "MONGODB_URL": stack.addresses["MONGODB_URL"],
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "AUTH_JWKS_URL": f"{stack.addresses['AUTH_URL']}/.well-known/jwks.json",
        "SYNC_ROUTES_FILE": str(file),
        "SYNC_GROUP_ID": f"test-{secrets.token_hex(4)}",
        "SYNC_SESSION_TIMEOUT_MS": "6000",
    }
    async with (
        run_declared(stack, file),
        running_processes("sync-service", 1, stack, **variables),
    ):
        seen = await eventually(products, lambda found: "chair" in found)
        chair = seen["chair"]
        assert {**chair, "price": str(chair["price"])} == {
            "_id": {"shop": "berlin", "sku": "chair"},
            "title": "Stühlchen",
            "price": "9.50",
            "is_sold": True,
            "released": "2026-11-24",
            "tags": ["wood"],
            "currency": "EUR",
        }
        ordered = (await eventually(orders, lambda found: 7 in found))[7]
        assert (ordered["shop"], ordered["customer"], ordered["city"]) == ("berlin", "Ada", "Łódź")
        assert (ordered["total"], json.loads(ordered["lines"])) == (12.5, [{"sku": "chair", "count": 2}])
        assert ordered["placed_at"] == order["placed_at"].replace(tzinfo=None)

        # What happens afterwards, and comes from the log.
        await execute(f"{into} ('berlin', 'table', 'Tisch', 100, NULL, NULL, NULL)")
        await execute("UPDATE shop.products SET price = 8.75, is_sold = FALSE WHERE sku = 'chair'")
        await mongo["shop"]["orders"].insert_one({"_id": {"shop": "berlin", "number": 8}, "customer": {"name": "Bo"}})
        await mongo["shop"]["orders"].update_one({"_id": order["_id"]}, {"$set": {"customer.address.city": "Kraków"}})
        await eventually(
            products,
            lambda found: (
                "table" in found and (str(found["chair"]["price"]), found["chair"]["is_sold"]) == ("8.75", False)
            ),
        )
        ordered = (await eventually(orders, lambda found: 8 in found and found[7]["city"] == "Kraków"))[8]
        assert (ordered["customer"], ordered["city"], ordered["lines"]) == ("Bo", "unknown", None)

        # Larger than Kafka's own limit of records, 1 MB.
        await execute("UPDATE shop.products SET tags = JSON_ARRAY(REPEAT('b', 3000000)) WHERE sku = 'table'")
        await eventually(products, lambda found: len((found["table"]["tags"] or [""])[0]) == 3_000_000)
        await execute("UPDATE shop.products SET tags = NULL WHERE sku = 'table'")

        await execute("DELETE FROM shop.products WHERE sku = 'chair'")
        await mongo["shop"]["orders"].delete_one({"_id": order["_id"]})
        await eventually(products, lambda found: list(found) == ["table"])
        await eventually(orders, lambda found: list(found) == [8])

        code, output, errors = await run_command("sync-service", "reconcile", **variables)
        assert (code, output.count("the copy agrees with its source"), errors) == (0, 2, "")
