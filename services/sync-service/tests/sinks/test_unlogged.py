"""Sessions of MySQL that keep changes out of the binary log are noticed, also after their end."""

import asyncio
import secrets

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.kafka import KafkaClients
from service_kit.mysql import create_engine
from support.polling import eventually
from sync_service.kafka.gaps import Gaps
from sync_service.routes.config import Route
from sync_service.sinks.mysql import unlogged
from sync_service.sinks.mysql.source_watch import MysqlWatch
from sync_service.sinks.mysql.table import visible_tables
from sync_service.sinks.mysql.unlogged import SETTINGS, sessions_since
from sync_service.source_watch.states import SourceStates
from sync_service.source_watch.watch import FoundGaps

WRONG = {
    "binlog_format": "STATEMENT",
    "binlog_row_image": "MINIMAL",
    "binlog_row_value_options": "'PARTIAL_JSON'",
    "sql_log_bin": "0",
}


@pytest.mark.parametrize("variable", SETTINGS)
async def test_open_session_is_noticed_and_a_closed_one_once(
    engine: AsyncEngine, mysql_root: AsyncEngine, variable: str
) -> None:
    async with mysql_root.connect() as connection:
        # It has a limited number of rows.
        await connection.execute(text("TRUNCATE TABLE performance_schema.events_statements_summary_by_digest"))
    before = await sessions_since(engine, None)
    async with mysql_root.connect() as session:
        await session.execute(text(f"SET SESSION {variable} = {WRONG[variable]}"))
        assert variable in (await sessions_since(engine, None)).variables
        await session.invalidate()
    after = await sessions_since(engine, before.state)
    assert f"{variable} of a session: {SETTINGS[variable][1]}" in after.reasons
    # The server needs a moment to end a session.
    await eventually(lambda: sessions_since(engine, after.state), lambda seen: not seen.variables)


async def test_slow_polls_end_after_the_time_of_fast_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlogged, "_POLLING_SECONDS", 0.1)
    monkeypatch.setattr(unlogged, "_POLL_SECONDS", 0.01)
    polls = 0

    async def poll() -> set[str]:
        nonlocal polls
        await asyncio.sleep(0.02)
        polls += 1
        return {"lasts", "ends"} if polls < unlogged._POLLS else {"lasts"}

    assert await unlogged.seen_every_time(poll) == {"lasts"}
    assert polls == unlogged._POLLS


async def test_session_that_changes_accounts_is_none(engine: AsyncEngine, mysql_root: AsyncEngine) -> None:
    """MySQL gives it another format meanwhile."""
    name = f"granted_{secrets.token_hex(4)}"

    async def grant() -> None:
        async with mysql_root.connect() as session:
            while True:
                await session.execute(text(f"GRANT SELECT ON performance_schema.* TO '{name}'@'%'"))
                # As long as the statement takes, so that half of all looks meet it.
                await asyncio.sleep(0.002)

    async with mysql_root.connect() as connection:
        await connection.execute(text(f"CREATE USER '{name}'@'%'"))
    granting = asyncio.create_task(grant())
    try:
        for _ in range(12):
            assert (await sessions_since(engine, None)).reasons == []
    finally:
        granting.cancel()
        await asyncio.wait([granting])
        async with mysql_root.connect() as connection:
            await connection.execute(text(f"DROP USER '{name}'@'%'"))
    assert granting.cancelled()


async def test_account_that_may_read_nothing_notices_nothing(mysql_root: AsyncEngine, mysql_root_url: str) -> None:
    name = f"blind_{secrets.token_hex(4)}"
    async with mysql_root.connect() as connection:
        await connection.execute(text(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{name}'"))
    url = make_url(mysql_root_url).set(username=name, password=name)
    blind = create_engine(url.render_as_string(hide_password=False))
    async with mysql_root.connect() as session:
        await session.execute(text("SET SESSION binlog_row_image = 'MINIMAL'"))
        assert (await sessions_since(blind, None)).variables == frozenset()
        # Another column than those that are read.
        sampled = "SELECT (query_sample_text) ON performance_schema.events_statements_summary_by_digest"
        await session.execute(text(f"GRANT {sampled} TO '{name}'@'%'"))
        assert (await sessions_since(blind, None)).variables == frozenset()
        await session.invalidate()
    tables = [("mysql", "user"), ("mysql", "none"), ("information_schema", "TABLES")]
    assert await visible_tables(blind, tables) == {("information_schema", "tables")}
    assert await visible_tables(mysql_root, tables) == {("mysql", "user"), ("information_schema", "tables")}
    await blind.dispose()
    async with mysql_root.connect() as connection:
        await connection.execute(text(f"DROP USER '{name}'@'%'"))


async def test_check_that_finds_nothing_writes_no_state(engine: AsyncEngine, routes: dict[str, Route]) -> None:
    # What other sessions do meanwhile puts no real route in doubt.
    own = [routes["users"].model_copy(update={"topic": "checked.checked.users"})]
    states = SourceStates(engine)
    watch = MysqlWatch(own, engine, KafkaClients("127.0.0.1:1"), FoundGaps(own, states, Gaps(engine)))

    async def is_unchanged() -> bool:
        before = await states.load("sessions", "mysql")
        await watch.checks["MySQL's sessions"]()
        return before is not None and await states.load("sessions", "mysql") == before

    await eventually(is_unchanged, bool)
