"""Connections to a MySQL server that has become a replica."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service_kit.mysql import create_engine, is_unavailable


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
