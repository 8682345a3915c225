"""Connections to a MySQL server that has become a replica, and after a failover."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import create_engine, is_unavailable
from support.polling import eventually


@pytest.mark.parametrize("autocommit", [False, True])
async def test_connections_to_a_server_that_takes_no_more_writes_are_replaced(
    mysql_root_url: str, autocommit: bool
) -> None:
    """Its address leads to another server now, but connections that are open still lead to this one."""
    engine = create_engine(f"{mysql_root_url}mysql", pool_size=1, autocommit=autocommit)
    try:
        async with engine.connect() as connection:
            first = await connection.scalar(text("SELECT CONNECTION_ID()"))
        async with engine.connect() as connection:
            await connection.execute(text("SET GLOBAL super_read_only = ON"))
            with pytest.raises(DBAPIError) as refused:
                await connection.execute(text("CREATE TABLE mysql.never_created (id INT)"))
        assert is_unavailable(refused.value)
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT CONNECTION_ID()")) != first
    finally:
        async with engine.connect() as connection:
            await connection.execute(text("SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF"))
        await engine.dispose()


@pytest.mark.parametrize("server", ["the same", "another one"])
async def test_cancelled_statement_ends_on_its_own_server_only(mysql_root_url: str, server: str) -> None:
    """After a failover the address leads to another server, where the id may be another connection's."""
    # Hours of computing, which MySQL does not interrupt because of a closed connection.
    computing = text("DO BENCHMARK(1000000000000, SHA2('cancelled statement', 512))")
    engine, observer = create_engine(f"{mysql_root_url}mysql", pool_size=1), create_engine(f"{mysql_root_url}mysql")
    connection_id = 0
    try:
        async with engine.connect() as connection:
            connection_id = await connection.scalar(text("SELECT CONNECTION_ID()"))
            if server == "another one":
                (await connection.get_raw_connection()).info["server_uuid"] = str(uuid4())
            others = asyncio.all_tasks()
            statement = asyncio.create_task(connection.execute(computing))
            await eventually(lambda: _is_computing(observer, connection_id))
            statement.cancel()
            with pytest.raises(asyncio.CancelledError):
                await statement
            kills = asyncio.all_tasks() - others - {statement}
            assert kills
            await asyncio.gather(*kills)
        if server == "the same":
            await eventually(lambda: _is_computing(observer, connection_id), lambda computing: not computing)
        else:
            assert await _is_computing(observer, connection_id)
    finally:
        if await _is_computing(observer, connection_id):
            async with observer.connect() as connection:
                await connection.execute(text(f"KILL {connection_id}"))
        await engine.dispose()
        await observer.dispose()


async def _is_computing(observer: AsyncEngine, connection_id: int) -> bool:
    """And is not killed, which the server notes before KILL returns."""
    query = text(
        "SELECT COUNT(*) FROM performance_schema.processlist"
        " WHERE id = :id AND info LIKE 'DO BENCHMARK%' AND command <> 'Killed'"
    )
    async with observer.connect() as connection:
        return bool(await connection.scalar(query, {"id": connection_id}))
