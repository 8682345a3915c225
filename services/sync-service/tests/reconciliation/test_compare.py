"""Copies are compared with their sources, in both directions, on real databases and a real broker."""

import asyncio
import json
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.kafka import KafkaClients
from support.comparison_harness import NUMBERED, SHORT_PAUSES, WHEN, ComparisonHarness, Tweets, Users, counts
from support.topics import create_topics
from sync_service.reconciliation.compare import Comparison, ComparisonOptions
from sync_service.reconciliation.differences import DifferenceKind
from sync_service.reconciliation.reports import RouteReport
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.config import Route
from sync_service.settings import Settings
from sync_service.sinks.comparison_target import open_target
from sync_service.sinks.mongodb.documents import Documents
from sync_service.sinks.rows import CannotCompare

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]

HARD_TEXTS = (
    "",
    "plain",
    "naïve 日本語",
    "🎉 four bytes \U0001f469\u200d\U0001f4bb",
    'quotes " and \\ and \n',
    "-",
    "%s %(a)s",
)


async def test_rows_of_every_kind_agree(comparison: ComparisonHarness) -> None:
    await comparison.both(dict(enumerate(HARD_TEXTS)))
    assert comparison.target.canonical.is_exact_in_sql
    compared = []

    async def refuse(_within: object) -> Sequence[Any]:
        compared.append(_within)
        return []

    # The checksums alone say so: no row is read.
    comparison.target.source.rows = refuse  # type: ignore[method-assign]
    report = await comparison.compare()
    assert (report.rows, counts(report), compared) == (len(HARD_TEXTS), (0, 0, 0, 0, 0), [])
    assert report.is_in_agreement


async def test_range_whose_bounds_are_in_another_order_in_mongodb_is_empty(database: "Database") -> None:
    """MySQL orders binary keys by their bytes, MongoDB by their length first."""
    longer, shorter = b"aa", b"b"
    await database["things"].insert_many([{"_id": longer}, {"_id": shorter}])
    documents = Documents(database["things"], [], {})
    assert [batch async for batch in documents.batches(longer, shorter, 10)] == []
    assert [batch async for batch in documents.batches(shorter, longer, 10)] == [[{"_id": shorter}]]


async def test_other_tasks_have_their_turn_while_a_batch_of_documents_is_compared(
    database: "Database", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_service.sinks.mongodb.documents.MAPPED_AT_ONCE", 2)
    await database["turns"].insert_many([{"_id": number} for number in range(5)])
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    lists = [(len(each), turns) async for each in Documents(database["turns"], [], {}).batches(None, None, 5)]
    other.cancel()
    assert [size for size, _ in lists] == [2, 2, 1]
    assert len({taken for _, taken in lists}) == 3


async def test_empty_source_and_empty_copy_agree(comparison: ComparisonHarness) -> None:
    report = await comparison.compare()
    assert (report.rows, report.is_in_agreement) == (0, True)


async def test_missing_extra_and_different_rows_are_reported(comparison: ComparisonHarness) -> None:
    await comparison.both(NUMBERED)
    await comparison.direction.put(100, "missing")
    await comparison.copy(200, "extra")
    await comparison.direction.corrupt(14, "content 14 ")
    report = await comparison.compare()
    assert (report.rows, counts(report)) == (31, (1, 1, 1, 0, 0))
    assert not report.is_in_agreement
    found = {example.kind: (list(example.key), list(example.fields)) for example in report.examples}
    key = {number: list(comparison.change(number, "").key) for number in (14, 100, 200)}
    field_name = "name" if "name" in comparison.route.fields else "text"
    assert found == {
        DifferenceKind.MISSING: (key[100], []),
        DifferenceKind.EXTRA: (key[200], []),
        DifferenceKind.DIFFERENT: (key[14], [field_name]),
    }


async def test_rows_are_compared_one_by_one_without_an_sql_expression(comparison: ComparisonHarness) -> None:
    await comparison.both(NUMBERED)
    await comparison.direction.corrupt(3, "x")
    canonical = comparison.target.canonical
    fields = [replace(each, expression=None) for each in canonical.fields]
    target = replace(comparison.target, canonical=replace(canonical, fields=fields))
    report = await comparison.compare(target=target)
    assert (report.rows, counts(report)) == (30, (0, 0, 1, 0, 0))


async def test_tombstone_equals_a_missing_row(comparison: ComparisonHarness) -> None:
    await comparison.both(NUMBERED)
    for number in (0, 7, 29):
        await comparison.direction.remove(number)
        await comparison.copy(number, "", op="d", place=2)
    assert (await comparison.compare()).is_in_agreement

    await comparison.direction.put(7, "back, and nobody has told the copy")
    assert counts(await comparison.compare()) == (1, 0, 0, 0, 0)
    assert counts(await comparison.compare(repair=True)) == (1, 0, 0, 0, 1)
    assert (await comparison.direction.copied())[7] == "back, and nobody has told the copy"


async def test_sample_compares_some_ranges_only(comparison: ComparisonHarness) -> None:
    await comparison.both(NUMBERED)
    report = await comparison.compare(sample=2)
    assert 2 < report.rows <= 14
    assert report.is_sample
    assert (await comparison.compare(sample=1000)).rows == 30


@pytest.mark.parametrize("comparison", ["tweets"], indirect=True)
async def test_unfit_source_row_is_reported_with_the_reason(comparison: ComparisonHarness) -> None:
    assert isinstance(comparison.direction, Tweets)
    await comparison.both(NUMBERED)
    await comparison.direction.source.insert_many(
        [{"_id": ObjectId("f" * 24), "text": 5}, {"_id": 7, "text": "an id that is no text"}]
    )
    report = await comparison.compare(repair=True)
    assert (report.unfit, report.found, report.mended) == (2, 2, 0)
    assert not report.is_in_agreement
    assert all(example.reason for example in report.examples)
    assert json.dumps([example.as_json() for example in report.examples])
    assert await comparison.direction.copied() == NUMBERED


@pytest.mark.parametrize("comparison", ["users"], indirect=True)
async def test_table_with_another_key_order_is_compared_correctly(
    comparison: ComparisonHarness, engine: AsyncEngine, source_schema: str
) -> None:
    """MySQL's default order puts `a` before `B`, MongoDB's the other way round."""
    assert isinstance(comparison.direction, Users)
    async with engine.begin() as connection:
        await connection.execute(
            text(f"ALTER TABLE {source_schema}.users MODIFY id VARCHAR(36) COLLATE utf8mb4_0900_ai_ci")
        )
    try:
        client = AsyncIOMotorClient[dict[str, Any]](comparison.settings.mongodb_url.get_secret_value(), tz_aware=True)
        target = await open_target(comparison.route, engine, client)
        for number, key in enumerate("aBcDéFgHÎñ"):
            row = {**comparison.direction.row(number, "x"), "id": key}
            values = [value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in row.values()]
            async with engine.begin() as connection:
                insert = f"INSERT INTO {source_schema}.users ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})"  # noqa: S608 - names of ours
                await connection.exec_driver_sql(insert, tuple(values))
        assert counts(await comparison.compare(target=target, repair=True, rows_in_a_range=3)) == (10, 0, 0, 0, 10)
        report = await comparison.compare(target=target, rows_in_a_range=3)
        assert (report.rows, report.found) == (10, 0)
        client.close()
    finally:
        await comparison.direction.clear()
        async with engine.begin() as connection:
            await connection.execute(text(f"ALTER TABLE {source_schema}.users MODIFY id VARCHAR(36) COLLATE ascii_bin"))


@pytest.mark.parametrize("comparison", ["users"], indirect=True)
async def test_missing_table_is_an_error_of_one_sentence(comparison: ComparisonHarness, engine: AsyncEngine) -> None:
    assert isinstance(comparison.direction, Users)
    client = AsyncIOMotorClient[dict[str, Any]](comparison.settings.mongodb_url.get_secret_value())
    route = comparison.route.model_copy(update={"topic": "cdc.no_such.table"})
    with pytest.raises(CannotCompare, match=r"shows no table no_such\.table"):
        await open_target(route, engine, client)
    client.close()


async def test_collection_with_a_key_of_two_fields_is_compared_and_repaired(
    settings: Settings, engine: AsyncEngine
) -> None:
    """As likes and follows have. The fields of an `_id` may be in any order, and MongoDB sorts by it."""
    suffix = secrets.token_hex(4)
    route = Route.model_validate(
        {
            "name": "likes",
            "topic": f"test.source_{suffix}.likes",
            "target": {"store": "mysql", "table": "favours"},
            "key": {
                "user_id": {"from": "_id.user_id", "type": "string"},
                "tweet_id": {"from": "_id.tweet_id", "type": "string"},
            },
            "fields": {"created_at": "datetime"},
        }
    )
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "CREATE TABLE favours_copy (user_id CHAR(36) COLLATE ascii_bin, tweet_id CHAR(24) COLLATE ascii_bin, "
                "created_at DATETIME(6), sync_event VARCHAR(80) COLLATE ascii_bin NOT NULL, "
                "sync_epoch VARCHAR(255) COLLATE ascii_bin NOT NULL, sync_position VARCHAR(80) COLLATE ascii_bin, "
                "sync_operation CHAR(1) COLLATE ascii_bin NOT NULL, sync_deleted_at DATETIME(6), "
                "sync_source_id VARCHAR(32) COLLATE ascii_bin NOT NULL DEFAULT '', PRIMARY KEY (user_id, tweet_id))"
            )
        )
    await create_topics(settings.kafka_bootstrap_servers, route.topic)
    client = AsyncIOMotorClient[dict[str, Any]](settings.mongodb_url.get_secret_value(), tz_aware=True)
    source = client[f"source_{suffix}"]["likes"]
    likes = [(f"u{number % 4}", ObjectId(f"{number:024x}")) for number in range(30)]
    await source.insert_many(
        [{"_id": {"tweet_id": tweet, "user_id": user}, "created_at": WHEN} for user, tweet in likes[:20]]
        + [{"_id": {"user_id": user, "tweet_id": tweet}, "created_at": WHEN} for user, tweet in likes[20:]]
    )
    target = await open_target(route, engine, client)

    async def compare(*, repair: bool = False) -> RouteReport:
        async with TopicProgress(KafkaClients.of(settings), route.topic, settings.sync_group_id, patience=30) as topic:
            options = ComparisonOptions(repair=repair, rows_in_a_range=7, max_repairs=30, pauses=SHORT_PAUSES)
            return await Comparison(route, target, topic, options).run()

    async def copied() -> set[tuple[str, str]]:
        async with engine.connect() as connection:
            live = text("SELECT user_id, tweet_id FROM favours_copy WHERE sync_deleted_at IS NULL")
            return {(row.user_id, row.tweet_id) for row in await connection.execute(live)}

    try:
        assert counts(await compare(repair=True)) == (30, 0, 0, 0, 30)
        assert await copied() == {(user, str(tweet)) for user, tweet in likes}
        assert (await compare()).found == 0

        # One of each order is gone. Rows that only the range of the table has, by its other order, are no extras.
        for identifier in (
            {"tweet_id": likes[3][1], "user_id": likes[3][0]},
            {"user_id": likes[25][0], "tweet_id": likes[25][1]},
        ):
            assert (await source.delete_one({"_id": identifier})).deleted_count == 1
        assert counts(await compare(repair=True)) == (0, 2, 0, 0, 2)
        gone = {(likes[number][0], str(likes[number][1])) for number in (3, 25)}
        assert await copied() == {(user, str(tweet)) for user, tweet in likes} - gone
        assert (await compare()).found == 0
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("DROP TABLE favours_copy"))
        await client.drop_database(f"source_{suffix}")
        client.close()
