"""Missing rows are copied, on request only those that meet a condition, in both directions."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.kafka import KafkaClients
from support.comparison_harness import NUMBERED, SHORT_PAUSES, ComparisonHarness, Users, counts
from sync_service.reconciliation import backfill
from sync_service.reconciliation.reports import RouteReport, as_text
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.sinks.comparison_target import open_target
from sync_service.sinks.mongodb.condition import parsed_filter
from sync_service.sinks.mysql.condition import sql_condition
from sync_service.sinks.rows import CannotCompare, WrongCondition

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    Client = AsyncIOMotorClient[dict[str, Any]]


@pytest.fixture
def client(comparison: ComparisonHarness) -> "Iterator[Client]":
    client = AsyncIOMotorClient[dict[str, Any]](comparison.settings.mongodb_url.get_secret_value(), tz_aware=True)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "ROWS_IN_A_RANGE", 7)
    monkeypatch.setattr(backfill, "_MISSING_ROWS", replace(backfill._MISSING_ROWS, pauses=SHORT_PAUSES))


async def run(
    comparison: ComparisonHarness, client: "Client", engine: AsyncEngine, where: str | None = None
) -> RouteReport:
    target = await open_target(comparison.route, engine, client, where=where)
    settings = comparison.settings
    topic = TopicProgress(KafkaClients.of(settings), comparison.route.topic, settings.sync_group_id, patience=30)
    async with topic:
        return await backfill.backfill(comparison.route, target, topic, lambda _done, _total: None, where=where)


def beginning_with(comparison: ComparisonHarness, content: str) -> str:
    if isinstance(comparison.direction, Users):
        return f"name LIKE '{content}%' AND LENGTH(id) % 7 = 6"
    return f'{{"text": {{"$regex": "^{content}"}}}}'


async def test_only_rows_of_the_condition_are_copied_and_no_others_are_extra(
    comparison: ComparisonHarness, client: "Client", engine: AsyncEngine
) -> None:
    copied = {number: NUMBERED[number] for number in range(10)}
    await comparison.both(copied)
    for number in range(10, 30):
        await comparison.direction.put(number, NUMBERED[number])
    await comparison.copy(200, "content 1, and extra")
    await comparison.direction.corrupt(5, "other")
    where = beginning_with(comparison, "content 1")
    report = await run(comparison, client, engine, where)
    assert (report.rows, counts(report), report.is_in_agreement) == (11, (10, 0, 0, 0, 10), True)
    wanted = {**copied, 5: "other", 200: "content 1, and extra", **{each: NUMBERED[each] for each in range(10, 20)}}
    assert await comparison.direction.copied() == wanted
    # What was copied is only compared.
    report = await run(comparison, client, engine, where)
    assert (report.rows, counts(report)) == (11, (0, 0, 0, 0, 0))
    assert "the copy has these rows as its source" in as_text(report)
    report = await run(comparison, client, engine)
    assert counts(report) == (10, 1, 1, 0, 10)


@pytest.mark.parametrize(
    ("comparison", "where", "reason"),
    [
        ("users", "name ===", "error in your SQL syntax"),
        ("users", "no_such_column = 1", "Unknown column"),
        ("users", "id IN (SELECT id FROM mysql.user FOR x)", "error in your SQL syntax"),
        ("tweets", '{"text": {"$no_such": 1}}', "unknown operator"),
    ],
    indirect=["comparison"],
)
async def test_wrong_condition_is_refused_before_a_row_is_written(
    comparison: ComparisonHarness, client: "Client", engine: AsyncEngine, where: str, reason: str
) -> None:
    await comparison.direction.put(1, "missing")
    with pytest.raises(WrongCondition, match=reason):
        await run(comparison, client, engine, where)
    assert await comparison.direction.copied() == {}


@pytest.mark.parametrize("comparison", ["users"], indirect=True)
async def test_condition_can_not_write(
    comparison: ComparisonHarness, client: "Client", engine: AsyncEngine, source_schema: str
) -> None:
    """Also with the rights to: a function of the user's own deletes rows."""
    await comparison.direction.put(1, "kept")
    function = f"{source_schema}.remove_all"
    async with engine.begin() as connection:
        await connection.exec_driver_sql(
            f"CREATE FUNCTION {function}() RETURNS INT DETERMINISTIC MODIFIES SQL DATA "  # noqa: S608 - names of ours
            f"BEGIN DELETE FROM {source_schema}.users; RETURN 1; END"
        )
    try:
        with pytest.raises(CannotCompare, match="READ ONLY transaction"):
            await run(comparison, client, engine, f"{function}() = 1")
    finally:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"DROP FUNCTION {function}")
    # Its connection, which the pool has again, can write.
    assert counts(await run(comparison, client, engine)) == (1, 0, 0, 0, 1)


async def test_nothing_is_copied_from_a_source_that_has_none_of_the_rows(
    comparison: ComparisonHarness, client: "Client", engine: AsyncEngine
) -> None:
    for number in range(3):
        await comparison.copy(number, "copied")
    await comparison.direction.put(10, "of another database")
    for where in (None, beginning_with(comparison, "of")):
        with pytest.raises(CannotCompare, match=r"none of the first 3 rows of .*reconcile --repair"):
            await run(comparison, client, engine, where)
    assert len(await comparison.direction.copied()) == 3
    await comparison.direction.put(2, "copied")
    assert counts(await run(comparison, client, engine)) == (1, 2, 0, 0, 1)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("1) UNION SELECT (1", "parenthesis"),
        ("(1", "parenthesis"),
        ("1; DELETE FROM users", "semicolon"),
        ("1 -- ", "comment"),
        ("1 /* ", "comment"),
        ("1 # ", "comment"),
        ("name = 'a", "quote"),
        ("name = `a", "quote"),
        (r"name = 'a\' OR 1) -- '", "backslash"),
        (" ", "empty"),
    ],
)
def test_sql_that_is_more_than_a_condition_is_refused(where: str, reason: str) -> None:
    with pytest.raises(WrongCondition, match=reason):
        sql_condition(where)


def test_sql_condition_keeps_its_quotes_and_signs() -> None:
    condition = """(name LIKE 'a)%' OR `odd;name` = "it's -- /*") AND id % 2 = 0"""
    assert sql_condition(condition) == f"({condition})".replace("%", "%%")


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("", "no filter in extended JSON"),
        ("status = 1", "no filter in extended JSON"),
        ('{"_id": {"$oid": "x"}}', "no filter in extended JSON"),
        ("[]", "no filter: write a JSON object"),
        ('{"$where": "sleep(1000)"}', r"runs code \(\$where\)"),
        ('{"$expr": {"$eq": [1, {"$function": {"body": "", "args": [], "lang": "js"}}]}}', r"\$function"),
    ],
)
def test_json_that_is_no_filter_or_runs_code_is_refused(where: str, reason: str) -> None:
    with pytest.raises(WrongCondition, match=reason):
        parsed_filter(where)
