"""Views on accounts that are not there yet, on a MySQL of the test's own: auth-service has never been started on it."""

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from embedded_stack import Stack, temporary_stack
from service_kit.mysql import create_engine, migrate
from sync_service.sinks.mysql.schema import migrations_folder
from sync_service.views import VIEWS, make_views, make_views_once_possible

pytestmark = pytest.mark.integration


@pytest.fixture
def fresh_mysql() -> Iterator[Stack]:
    with temporary_stack("tandem-test-") as stack:
        stack.start("mysql")
        yield stack


async def test_views_wait_for_the_table_of_the_accounts(fresh_mysql: Stack) -> None:
    address = fresh_mysql.addresses["SYNC_MYSQL_URL"]
    await migrate(address, migrations_folder())
    sync, root = create_engine(address), create_engine(fresh_mysql.addresses["MYSQL_ROOT_URL"])
    with pytest.raises(DBAPIError, match=r"1146.*auth\.users"):
        await make_views(sync)
    making = asyncio.create_task(make_views_once_possible(sync))
    async with root.begin() as connection:
        columns = "id CHAR(36) COLLATE ascii_bin PRIMARY KEY, username TEXT, name TEXT, email TEXT"
        await connection.execute(text(f"CREATE TABLE auth.users ({columns})"))
        await connection.execute(text("CREATE TABLE auth.credentials (user_id INT)"))
    await asyncio.wait_for(making, 120)
    async with sync.connect() as connection:
        for name in VIEWS:
            look = f"SELECT * FROM {name}"  # noqa: S608 - names of ours
            assert (await connection.execute(text(look))).all() == []
        with pytest.raises(DBAPIError, match="denied"):
            await connection.execute(text("SELECT * FROM auth.credentials"))
    await sync.dispose()
    await root.dispose()
