"""Errors that are in no list of codes: a row is isolated, others are applied, and a table that refuses all blocks."""

from collections.abc import Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from support.polling import eventually
from support.stored_copies import StoredMysqlCopy, empty_copy, refusing_trigger
from support.sync_harness import SyncHarness, tweet_event, tweet_id
from sync_service.apply.changes import Change
from sync_service.apply.isolation import ATTEMPTS, IsolatingWrite
from sync_service.apply.ordering import Version, offset, topic_partition
from sync_service.sinks.base import UnknownFailure
from sync_service.sinks.mysql.sink import MysqlSink

GOOD, REFUSED, OTHER = 1, 2, 3


@pytest.fixture
async def copy(mysql_sink: MysqlSink, engine: AsyncEngine) -> StoredMysqlCopy:
    await empty_copy(engine)
    return StoredMysqlCopy(mysql_sink, engine)


def change(copy: StoredMysqlCopy, number: int, content: str) -> Change:
    version = Version(topic_partition("c" * 32, 0), offset(number), None, "c")
    return copy.change(tweet_id(number), version, content)


async def failures(write: IsolatingWrite, number: int) -> None:
    for _ in range(number):
        with pytest.raises(UnknownFailure, match="60000"):
            await write()


async def test_row_is_isolated_after_five_failures_and_its_neighbours_are_written(
    copy: StoredMysqlCopy, engine: AsyncEngine
) -> None:
    chunk = [change(copy, GOOD, "good"), change(copy, REFUSED, "refused"), change(copy, OTHER, "other")]
    write = IsolatingWrite(copy.sink, chunk, neighbours=list)
    async with refusing_trigger(engine):
        await failures(write, ATTEMPTS - 1)
        written = await write()
    assert [each.key for each in written.applied] == [(tweet_id(GOOD),), (tweet_id(OTHER),)]
    assert [(each.key, type(error)) for each, error in write.isolated] == [((tweet_id(REFUSED),), UnknownFailure)]
    assert (await copy.readable()).keys() == {tweet_id(GOOD), tweet_id(OTHER)}


@pytest.mark.parametrize("neighbours", [[], [(OTHER, "refused")]])
async def test_rows_are_not_to_blame_if_no_row_can_be_written(
    copy: StoredMysqlCopy, engine: AsyncEngine, neighbours: Sequence[tuple[int, str]]
) -> None:
    chunk = [change(copy, GOOD, "refused"), change(copy, REFUSED, "refused")]
    others = [change(copy, number, content) for number, content in neighbours]
    write = IsolatingWrite(copy.sink, chunk, neighbours=lambda: others)
    async with refusing_trigger(engine):
        await failures(write, 2 * ATTEMPTS)
    assert write.isolated == ()
    assert [each.key for each in (await write()).applied] == [each.key for each in chunk]


async def test_single_row_is_isolated_if_a_neighbour_can_be_written(copy: StoredMysqlCopy, engine: AsyncEngine) -> None:
    refused, same_row = change(copy, REFUSED, "refused"), change(copy, REFUSED, "good")
    neighbours = [same_row]
    write = IsolatingWrite(copy.sink, [refused], neighbours=lambda: neighbours)
    async with refusing_trigger(engine):
        await failures(write, ATTEMPTS)
        neighbours.append(change(copy, OTHER, "other"))
        await write()
    assert [each.key for each, _ in write.isolated] == [refused.key]


async def test_lone_row_becomes_a_dead_letter_as_soon_as_another_one_waits(
    harness: SyncHarness, engine: AsyncEngine
) -> None:
    """The first event of a process: it has written no row of this table yet."""
    runner = harness.start_sync()
    statistics = runner.processors[harness.tweets_topic].statistics

    async def blocked_by() -> str | None:
        return statistics.blocked_by

    async def letters() -> int:
        return len(await harness.dead_letters())

    async with refusing_trigger(engine):
        await harness.send(harness.tweets_topic, tweet_event(REFUSED, "refused"))
        await eventually(blocked_by, lambda reason: reason is not None and "60000" in reason)
        await harness.send(harness.tweets_topic, tweet_event(GOOD, "good"))
        await eventually(letters)
        rows = await eventually(harness.tweets)
    assert rows == {tweet_id(GOOD): "good"}
    (letter,) = await harness.dead_letters()
    headers = dict(letter.headers)
    assert b"60000" in headers["__connect.errors.exception.message"]
    assert statistics.metrics.unknown_failures.labels("tweets")._value.get() == 1
