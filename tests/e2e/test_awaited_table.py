"""A stack starts although a route's table does not exist yet; its connector starts once it does."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy import text

from service_kit.mysql import create_engine
from support.polling import eventually
from support.stacks import stack_in
from sync_service.routes.loader import default_routes_file

# A stack of its own.
pytestmark = pytest.mark.integration

PRODUCTS = """
products:
  topic: cdc.mysql-shop.shop.products
  target: {store: mongodb, database: shop, collection: products}
  key: {_id: {from: id, type: integer}}
  fields: {name: string}
"""


async def test_connector_starts_once_its_table_exists(tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"
    built_in = default_routes_file().read_text()
    routes.write_text(
        built_in.replace("sources:\n  mysql", "sources:\n  mysql-shop: {kind: mysql}\n  mysql") + PRODUCTS
    )
    with stack_in(tmp_path / "state", routes_file=routes) as stack:
        await asyncio.to_thread(stack.start, "registrar", "sync")
        assert "GRANT SELECT ON `shop`.`products` TO debezium" in stack.components["registrar"].remark
        mongo = AsyncIOMotorClient[dict[str, Any]](stack.addresses["MONGODB_URL"])
        engine = create_engine(stack.addresses["MYSQL_ROOT_URL"])
        async with httpx.AsyncClient(base_url=stack.addresses["REGISTRAR_URL"], timeout=20) as registrar:

            async def checks() -> Any:
                return (await registrar.get("/readyz")).json()["checks"]

            async def copies() -> list[dict[str, Any]]:
                found: list[dict[str, Any]] = await mongo["shop"]["products"].find().to_list(None)
                return found

            waiting = await checks()
            assert waiting.pop("mysql-shop").startswith("waits for what it captures to exist")
            assert set(waiting.values()) == {"ok"}
            async with engine.begin() as connection:
                for statement in (
                    "CREATE DATABASE shop",
                    "CREATE TABLE shop.products (id INT PRIMARY KEY, name VARCHAR(20))",
                    "INSERT INTO shop.products VALUES (1, 'chair')",
                    "GRANT SELECT ON shop.products TO 'debezium'@'%'",
                ):
                    await connection.execute(text(statement))
            await eventually(copies, lambda found: found == [{"_id": 1, "name": "chair"}])
            await eventually(checks, lambda found: set(found.values()) == {"ok"})
        await engine.dispose()
        mongo.close()
