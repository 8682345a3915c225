"""Sessions of MySQL that keep changes out of the binary log are noticed, also after their end."""

import secrets
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import create_engine
from support.polling import eventually
from sync_service.sinks.mysql.unlogged import SETTINGS, is_table, sessions_since

WRONG = {
    "binlog_format": "STATEMENT",
    "binlog_row_image": "MINIMAL",
    "binlog_row_value_options": "'PARTIAL_JSON'",
    "sql_log_bin": "0",
}


@pytest.fixture
async def root(mysql_root_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(mysql_root_url)
    yield engine
    await engine.dispose()


@pytest.mark.parametrize("variable", SETTINGS)
async def test_open_session_is_noticed_and_a_closed_one_once(
    engine: AsyncEngine, root: AsyncEngine, variable: str
) -> None:
    async with root.connect() as connection:
        # It has a limited number of rows.
        await connection.execute(text("TRUNCATE TABLE performance_schema.events_statements_summary_by_digest"))
    before = await sessions_since(engine, None)
    async with root.connect() as session:
        await session.execute(text(f"SET SESSION {variable} = {WRONG[variable]}"))
        assert variable in (await sessions_since(engine, None)).variables
        await session.invalidate()
    after = await sessions_since(engine, before.state)
    assert f"{variable} of a session: {SETTINGS[variable][1]}" in after.reasons
    # The server needs a moment to end a session.
    await eventually(lambda: sessions_since(engine, after.state), lambda seen: not seen.variables)


async def test_account_that_may_read_nothing_notices_nothing(root: AsyncEngine, mysql_root_url: str) -> None:
    name = f"blind_{secrets.token_hex(4)}"
    async with root.connect() as connection:
        await connection.execute(text(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{name}'"))
    url = make_url(mysql_root_url).set(username=name, password=name)
    blind = create_engine(url.render_as_string(hide_password=False))
    async with root.connect() as session:
        await session.execute(text("SET SESSION binlog_row_image = 'MINIMAL'"))
        assert (await sessions_since(blind, None)).variables == frozenset()
        await session.invalidate()
    assert not await is_table(blind, "mysql", "user")
    assert await is_table(root, "mysql", "user")
    await blind.dispose()
    async with root.connect() as connection:
        await connection.execute(text(f"DROP USER '{name}'@'%'"))
