"""The table of gaps keeps its rows when an installation is upgraded."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import create_engine, migrate
from sync_service.kafka.gaps import Gap, Gaps, KnownGap
from sync_service.sinks.mysql.schema import migrations_folder

FOUND_AT = datetime(2026, 11, 24, 3, 17, 34, 81894, tzinfo=UTC)
# The longest reason and topic that the earlier table holds.
LONGEST = KnownGap("t" * 249, "1" * 32, 5, 0, None, "r" * 200, found_at=FOUND_AT)
STORED = [
    LONGEST,
    KnownGap("cdc.mysql.auth.users", "2" * 32, 0, 7, 12, "they were deleted before they were read", found_at=FOUND_AT),
    KnownGap("cdc.mysql.auth.users", "2" * 32, 1, 2**40, 2**41, "geänderte Zeilen", found_at=FOUND_AT),
]
INSERT = text(
    "INSERT INTO sync_gaps (topic, topic_id, partition_number, first_offset, end_offset, reason, found_at) "
    "VALUES (:topic, :topic_id, :partition, :first, :end, :reason, :found_at)"
)


@pytest.fixture
async def schema(mysql_root_url: str) -> AsyncIterator[AsyncEngine]:
    """One without tables."""
    name, root = f"sync_gaps_{secrets.token_hex(4)}", create_engine(mysql_root_url)
    async with root.begin() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(mysql_root_url + name)
    yield engine
    await engine.dispose()
    async with root.begin() as connection:
        await connection.execute(text(f"DROP DATABASE {name}"))
    await root.dispose()


async def revise(engine: AsyncEngine, to: str, change: Any) -> None:
    def run(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(migrations_folder()))
        config.attributes["connection"] = connection
        change(config, to)

    async with engine.begin() as connection:
        await connection.run_sync(run)


async def fill(engine: AsyncEngine, gaps: list[KnownGap]) -> None:
    """As the last release stores them."""
    names = ("topic", "topic_id", "partition", "first", "end", "reason", "found_at")
    async with engine.begin() as connection:
        await connection.execute(INSERT, [{name: getattr(gap, name) for name in names} for gap in gaps])


async def known(engine: AsyncEngine) -> list[KnownGap]:
    gaps = Gaps(engine)
    await gaps.refresh()
    topics = dict.fromkeys(gap.topic for gap in STORED)
    return [gap for topic in topics for gap in gaps.of(topic)]


async def test_gaps_of_an_earlier_release_stay_and_get_their_cause(schema: AsyncEngine) -> None:
    await revise(schema, "0007", command.upgrade)
    await fill(schema, STORED)
    address = schema.url.render_as_string(hide_password=False)
    # Replicas may start together.
    await asyncio.gather(*(migrate(address, migrations_folder()) for _ in range(2)))
    assert await known(schema) == STORED
    assert {gap.cause for gap in await known(schema)} == {"lost-events"}

    # While it is replaced, a process of that release adds gaps, and this one finds other causes and the same ones.
    late = KnownGap(LONGEST.topic, "3" * 32, 0, 0, 1, "late", found_at=FOUND_AT)
    await fill(schema, [late])
    again = Gap(LONGEST.topic, LONGEST.topic_id, LONGEST.partition, LONGEST.first, None, "r" * 500)
    await Gaps(schema).record([again, Gap.of_source(LONGEST.topic, "dropped", "drop")])
    found = {(gap.cause, gap.topic_id): len(gap.reason) for gap in await known(schema) if gap.topic == LONGEST.topic}
    assert found == {("lost-events", "1" * 32): 500, ("lost-events", "3" * 32): 4, ("dropped", ""): 4}


async def test_gaps_of_events_stay_when_the_earlier_release_is_restored(schema: AsyncEngine) -> None:
    address = schema.url.render_as_string(hide_password=False)
    await migrate(address, migrations_folder())
    await fill(schema, STORED)
    await Gaps(schema).record([Gap.of_source(LONGEST.topic, "truncated", "TRUNCATE TABLE")])
    await revise(schema, "0007", command.downgrade)
    await revise(schema, "head", command.upgrade)
    assert await known(schema) == STORED
