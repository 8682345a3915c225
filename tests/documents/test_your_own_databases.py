"""docs/your-own-databases.md, on a MySQL and a MongoDB that are no part of a stack."""

import asyncio
import json
import os
import re
import shlex
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
from bson import Decimal128
from playwright.async_api import Page, expect
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from browser.windows import PATIENCE_MILLISECONDS, Windows, running_chromium, watched_windows
from documents.markdown import Document
from documents.sessions import Step, run, steps
from documents.test_documents import ROOT
from embedded_stack import Stack
from embedded_stack.configuration import reserved_port_offset
from service_kit.mysql import create_engine
from support.mongo_with_accounts import ROOT_PASSWORD, mongo_with_accounts
from support.polling import eventually
from support.stacks import stack_at

expect.set_options(timeout=PATIENCE_MILLISECONDS)
PAGE = Document(ROOT / "docs" / "your-own-databases.md")
_COMMAND = re.compile(r'^db\.getSiblingDB\("(\w+)"\)\.runCommand\((.*)\)$', re.MULTILINE)


def shown(language: str) -> str:
    (block,) = [block.text for block in PAGE.blocks if block.language == language]
    return block


@pytest.fixture
async def mysql(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """A server with a table, as its administrator. It has none of Tandem's accounts."""
    with reserved_port_offset() as offset:
        theirs = stack_at(tmp_path / "mysql", offset)
        component, process = theirs.components["mysql"], theirs.processes["mysql"]
        component.fetch()
        component.prepare()
        process.start(component.command())
        engine = create_engine(theirs.addresses["MYSQL_ROOT_URL"])
        try:

            async def create() -> bool:
                async with engine.begin() as connection:
                    await connection.execute(text("CREATE DATABASE IF NOT EXISTS shop"))
                return True

            await eventually(create)
            async with engine.begin() as connection:
                await connection.execute(
                    text("CREATE TABLE shop.products (sku VARCHAR(20) PRIMARY KEY, price DECIMAL(10,2) NOT NULL)")
                )
                await connection.execute(text("INSERT INTO shop.products VALUES ('chair', 9.50)"))
            yield engine
        finally:
            await engine.dispose()
            process.stop(10)


@pytest.fixture
async def mongo(stack: Stack, tmp_path: Path) -> "AsyncIterator[pymongo.MongoClient[dict[str, Any]]]":
    """A server with a collection, as its administrator."""
    folder = tmp_path / "mongo"
    folder.mkdir()
    async with mongo_with_accounts(stack, folder) as address:
        with pymongo.MongoClient[dict[str, Any]](f"mongodb://root:{ROOT_PASSWORD}@{address}/?replicaSet=rs0") as client:
            client["shop"]["orders"].insert_one({"_id": 7, "customer": "Łódź", "total": 12.5})
            yield client


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the repository."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".stack"):
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture
def variables(stack: Stack, checkout: Path) -> Iterator[dict[str, str]]:
    with reserved_port_offset() as offset:
        own = stack_at(checkout / ".stack-sync-only", offset, kind="sync-only")
        try:
            yield {
                **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
                "TANDEM_STATE_DIR": str(own.configuration.state),
                "TANDEM_CACHE_DIR": str(stack.configuration.cache),
                "TANDEM_PORT_OFFSET": str(offset),
            }
        finally:
            own.stop()


@pytest.mark.long
async def test_first_rows_of_two_existing_databases_are_copied(
    mysql: AsyncEngine,
    mongo: "pymongo.MongoClient[dict[str, Any]]",
    checkout: Path,
    variables: dict[str, str],
) -> None:
    async with mysql.begin() as connection:
        for statement in filter(str.strip, shown("sql").split(";")):
            await connection.execute(text(statement))
    for database, command in _COMMAND.findall(shown("js")):
        mongo[database].command(json.loads(command))

    theirs = {
        "127.0.0.1:3306": f"127.0.0.1:{mysql.url.port}",
        "CDC_MYSQL_PORT=3306": f"CDC_MYSQL_PORT={mysql.url.port}",
        "127.0.0.1:27017": "{}:{}".format(*mongo.address or ()),
        "root:mysql-phrase@": f"root:{mysql.url.password}@",
        "root:mongodb-phrase@": f"root:{ROOT_PASSWORD}@",
    }

    def with_addresses(command: str) -> str:
        for documented, real in theirs.items():
            command = command.replace(documented, real)
        return command

    typed = [replace(step, command=with_addresses(step.command)) for step in steps(PAGE)]
    (environment,) = [step for step in typed if ". .stack-sync-only/env" in step.command]
    (adding,) = [number for number, step in enumerate(typed) if "routes add" in step.command]
    *rest, down = typed[adding:]

    async def execute(*commands: Step) -> None:
        await asyncio.to_thread(run, commands, folder=checkout, variables=variables, within=600)

    await execute(*typed[:adding])
    addresses = addresses_in(checkout / ".stack-sync-only" / "env")
    gateway, token = addresses["GATEWAY_URL"], addresses["SYNC_OPERATOR_TOKEN"]
    async with (
        httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as operator,
        running_chromium(gateway) as chromium,
        watched_windows(chromium, gateway) as windows,
    ):
        await everything_is_ready(operator, addresses, routes=[])
        page = await logged_in(windows, token)
        before = processes(checkout)

        await execute(environment, *rest)
        assert processes(checkout) == before
        await everything_is_ready(operator, addresses, routes=["products", "orders"])
        for name in ("products", "orders"):
            await expect(page.locator("option", has_text=name).first).to_be_attached()
        assert mongo["shop_copy"]["products"].find_one() == {"_id": "chair", "price": Decimal128("9.50")}
        await changes_follow(mysql, mongo)
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_label("Token")).to_be_visible()
    await execute(environment, down)


async def logged_in(windows: Windows, token: str) -> Page:
    """The page of the sync, in a window whose user knows the token, and has mistyped it before."""
    page = await windows.open()
    windows.trouble.expected |= {401}
    await page.get_by_label("Token").fill(f"{token}x")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_text("The access token is invalid.")).to_be_visible()
    windows.trouble.expected.clear()
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="Sync", exact=True)).to_be_visible()
    await expect(page.get_by_text("Connected.")).to_be_visible()
    return page


async def changes_follow(mysql: AsyncEngine, mongo: "pymongo.MongoClient[dict[str, Any]]") -> None:
    async with mysql.begin() as connection:
        await connection.execute(text("UPDATE shop.products SET price = 8"))
    mongo["shop"]["orders"].update_one({"_id": 7}, {"$set": {"customer": "Kraków"}})

    async def price() -> Decimal128:
        copied: Decimal128 = (mongo["shop_copy"]["products"].find_one() or {})["price"]
        return copied

    async def customer() -> str:
        async with mysql.connect() as connection:
            return str(await connection.scalar(text("SELECT customer FROM shop_copy.orders")))

    await eventually(price, lambda found: found == Decimal128("8.00"))
    await eventually(customer, lambda found: found == "Kraków")


def addresses_in(file: Path) -> dict[str, str]:
    lines = [line.partition("=") for line in shlex.split(file.read_text())]
    return {name: value for name, _, value in lines}


def processes(checkout: Path) -> dict[str, str]:
    """The pids, by component."""
    return {file.stem: file.read_text() for file in (checkout / ".stack-sync-only" / "run").glob("*.pid")}


async def everything_is_ready(operator: httpx.AsyncClient, addresses: Mapping[str, str], routes: Sequence[str]) -> None:
    """With any number of routes."""
    service, gateway = f"{addresses['GATEWAY_URL']}/api/sync", addresses["GATEWAY_URL"]

    async def ready() -> list[Any]:
        answers = [await operator.get(f"{addresses[name]}/readyz") for name in ("REGISTRAR_URL", "SYNC_URL")]
        return [(each.status_code, each.json()) for each in answers]

    await eventually(ready, lambda answers: [status for status, _ in answers] == [200, 200])
    status = (await operator.get(f"{service}/v1/status")).raise_for_status().json()
    assert [each["name"] for each in status["routes"]] == routes
    pipeline = (await operator.get(f"{service}/v1/pipeline")).raise_for_status().json()
    assert [each["answers"] for each in pipeline["stores"]] == [True, True]
    assert [each["name"] for each in pipeline["routes"]] == routes
    (await operator.get(f"{service}/v1/counts")).raise_for_status()
    begun = (await operator.post(f"{service}/v1/reconcile", json={})).raise_for_status().json()

    async def comparison() -> str:
        return str((await operator.get(f"{service}/v1/reconcile/{begun['id']}")).raise_for_status().json()["state"])

    assert await eventually(comparison, lambda state: state != "running") == "finished"
    assert "<title>Tandem</title>" in (await operator.get(f"{gateway}/")).text
    assert "SYNC_OPERATOR_TOKEN" in (await operator.get(f"{gateway}/app.js")).text
    assert (await operator.get(f"{gateway}/api/auth/v1/sessions")).status_code == 404
