"""Copies that several routes share, with a constant as a part of the key."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.built_in_routes import built_in_declarations
from support.comparison_harness import NUMBERED, ComparisonHarness, Users, counts
from sync_service.apply.changes import Change
from sync_service.apply.decode import decode_change
from sync_service.routes.config import Route
from sync_service.sinks.mongodb.sink import MongoSink
from sync_service.sinks.mysql.ddl import live_rows_of
from sync_service.sinks.mysql.observer import MysqlRows
from sync_service.sinks.mysql.sink import MysqlSink

ID = {"type": "string", "length": 40}


def of_tenant(tenant: str) -> Mapping[str, Any]:
    constant = {"tenant": {"constant": tenant}}
    return {
        "users": {"key": {**constant, "id": ID}, "target": {"store": "mongodb", "collection": "shared"}},
        "tweets": {"key": {**constant, "id": {"from": "_id", **ID}}, "target": {"store": "mysql", "table": "shared"}},
    }


@pytest.fixture(autouse=True)
async def _no_table(engine: AsyncEngine) -> AsyncIterator[None]:
    yield
    async with engine.begin() as connection:
        await connection.execute(text("DROP VIEW IF EXISTS shared"))
        await connection.execute(text("DROP TABLE IF EXISTS shared_copy"))


async def rows(comparison: ComparisonHarness) -> dict[tuple[str, int], str]:
    """All rows of the copy: their tenant, number and content."""
    direction = comparison.direction
    if isinstance(direction, Users):
        return {
            (row["_id"]["tenant"], int(row["_id"]["id"][1:])): row["name"]
            async for row in direction.database["shared"].find()
        }
    async with direction.engine.connect() as connection:  # type: ignore[attr-defined]  # the other direction has one, too
        found = await connection.execute(text("SELECT tenant, id, text FROM shared"))
        return {(row.tenant, int(row.id, 16)): row.text for row in found}


def change_of(route: Route, comparison: ComparisonHarness, number: int) -> Change:
    key, value = comparison.direction.event(number, "theirs")
    change = decode_change(route, key, value, topic_partition="7" * 32 + ":000000", number=number)
    assert change is not None
    return change


@pytest.mark.parametrize("route_options", [of_tenant("berlin")])
async def test_route_compares_and_repairs_its_own_rows_only(comparison: ComparisonHarness, engine: AsyncEngine) -> None:
    await comparison.both(NUMBERED)
    # The same ids, of another source.
    name = comparison.route.name
    theirs = Route.model_validate(
        {**built_in_declarations()[name], "name": "other", "topic": "test.other.things", **of_tenant("łódź'%s")[name]}
    )
    sink = MysqlSink(engine, theirs) if name == "tweets" else MongoSink(comparison.direction.database, theirs)  # type: ignore[attr-defined]  # that of users has one
    await sink.write([change_of(theirs, comparison, number) for number in range(3)])

    assert (await comparison.compare()).is_in_agreement
    await comparison.direction.put(3, "changed")
    await comparison.direction.remove(4)
    await comparison.direction.put(99, "missing")
    assert counts(await comparison.compare(repair=True)) == (1, 1, 1, 0, 3)
    ours = {**NUMBERED, 3: "changed", 99: "missing"}
    del ours[4]
    expected = {("berlin", n): content for n, content in ours.items()} | {("łódź'%s", n): "theirs" for n in range(3)}
    assert await rows(comparison) == expected
    if name == "tweets":
        schema = engine.url.database or ""
        assert await MysqlRows(engine, schema, "shared_copy", live_rows_of(theirs)).count() == 3
