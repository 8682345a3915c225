"""`/v1/counts`: rows of both stores."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from bson import ObjectId
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.built_in_routes import built_in_declarations
from support.polling import eventually
from support.sync_process import SyncProcess, tweet_event, tweet_id
from sync_service.monitoring.counts.service import RouteCount
from sync_service.routes.config import Route
from sync_service.sinks.counting import RowCount, counted
from sync_service.sinks.mongodb import observer as mongodb_observer
from sync_service.sinks.mongodb.observer import MongoRows
from sync_service.sinks.mysql import observer as mysql_observer
from sync_service.sinks.mysql.observer import MysqlObserver, MysqlRows

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]

ROWS = 500


async def test_both_sides_of_a_route_are_counted_without_tombstones(sync: SyncProcess) -> None:
    with pymongo.MongoClient[dict[str, Any]](sync.variables["MONGODB_URL"]) as client:
        source = client["test"][sync.tweets]
        source.insert_many([{"_id": ObjectId(tweet_id(number))} for number in range(5)])
        await sync.send(sync.tweets, *(tweet_event(number) for number in range(4)))
        await sync.send(sync.tweets, tweet_event(0, op="d", ordinal=2))
        async with sync.running() as replica:

            async def done_with() -> int:
                routes = (await replica.client.get("/v1/status")).json()["routes"]
                (route,) = [each for each in routes if each["name"] == sync.tweets]
                return int(route["applied"] + route["superseded"])

            await eventually(done_with, lambda events: events == 5)

            async def counts() -> list[dict[str, Any]]:
                answers = [await replica.client.get("/v1/counts") for _ in range(2)]
                return [answer.raise_for_status().json() for answer in answers]

            def are_exact(found: list[dict[str, Any]]) -> bool:
                """A busy store does not count in time. The counts are kept for some seconds."""
                (route,) = [each for each in found[0]["routes"] if each["route"] == sync.tweets]
                return found[0] == found[1] and route["source"]["exactness"] == route["copy"]["exactness"] == "exact"

            first, _ = await eventually(counts, are_exact)
            routes = {route["route"]: route for route in first["routes"]}
        source.drop()
    users, tweets = routes[sync.users], routes[sync.tweets]
    assert {name: tweets["source"][name] for name in ("store", "rows", "exactness")} == {
        "store": "mongodb",
        "rows": 5,
        "exactness": "exact",
    }
    assert (tweets["copy"]["store"], tweets["copy"]["rows"], tweets["copy"]["exactness"]) == ("mysql", 3, "exact")
    assert tweets["difference"] == 2
    assert tweets["source"]["name"] == f"test.{sync.tweets}"
    # There is no such table: that says so, and keeps nothing else from being told.
    assert (users["source"]["rows"], users["source"]["exactness"], users["difference"]) == (None, "unknown", None)
    assert "test" in users["source"]["reason"]
    assert (users["copy"]["rows"], users["copy"]["exactness"]) == (0, "exact")


@pytest.mark.parametrize(("where", "difference"), [(None, 2), ("text != ''", None)])
async def test_route_that_selects_rows_has_no_difference(where: str | None, difference: int | None) -> None:
    declared = built_in_declarations()["tweets"]
    route = Route.model_validate({**declared, "name": "tweets", **({"where": where} if where else {})})
    # It connects on first use.
    table = MysqlObserver("mysql://unused@127.0.0.1:1/tweets").source_table("shop", "things")
    count = RouteCount(route, (table, RowCount(5, "exact")), (table, RowCount(3, "exact")))
    assert count.difference == difference


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql_observer, "_COUNT_MS", 1)
    monkeypatch.setattr(mongodb_observer, "_COUNT_MS", 1)


@pytest.mark.usefixtures("impatient")
async def test_slow_count_of_a_table_becomes_an_estimate(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("CREATE TABLE many (id INT PRIMARY KEY)"))
        try:
            await connection.execute(
                text("INSERT INTO many VALUES (:number)"), [{"number": number} for number in range(ROWS)]
            )
            await connection.execute(text("ANALYZE TABLE many"))
            rows = MysqlRows(engine, engine.url.database or "", "many", "LENGTH(SHA2(REPEAT(id, 100000), 512)) > 0")
            assert await counted(rows) == RowCount(ROWS, "estimate")
        finally:
            await connection.execute(text("DROP TABLE many"))


@pytest.mark.usefixtures("impatient")
async def test_slow_count_of_a_collection_becomes_an_estimate(database: "Database") -> None:
    await database["many"].insert_many({"_id": number} for number in range(ROWS))
    # Of each document, because MongoDB computes an expression without fields once.
    slow = {"$expr": {"$gt": [{"$size": {"$range": [0, {"$add": [100_000, "$_id"]}]}}, "$_id"]}}
    assert await counted(MongoRows(database["many"], slow)) == RowCount(ROWS, "estimate")


async def test_counts_of_documents_are_exact(database: "Database") -> None:
    await database["some"].insert_many(
        {"_id": number, "_sync": {"deleted_at": datetime.now(UTC) if number < 3 else None}} for number in range(10)
    )
    assert await counted(MongoRows(database["some"], {})) == RowCount(10, "exact")
    assert await counted(MongoRows(database["some"], {"_sync.deleted_at": None})) == RowCount(7, "exact")
    assert await counted(MongoRows(database["none"], {})) == RowCount(0, "exact")
