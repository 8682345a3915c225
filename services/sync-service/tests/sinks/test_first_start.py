"""What the account of the sync needs in its own schema, before the first migration."""

import secrets
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import migrate
from sync_service.sinks.base import Unavailable
from sync_service.sinks.mysql.errors import start_problem
from sync_service.sinks.mysql.schema import migrations_folder, require_grants


@pytest.fixture
async def address(mysql_root: AsyncEngine, mysql_root_url: str) -> AsyncIterator[str]:
    """Of an account with some rights in a schema of its own."""
    name = f"first_{secrets.token_hex(4)}"
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
        await connection.execute(text(f"CREATE USER {name} IDENTIFIED BY '{name}'"))
        await connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON {name}.* TO {name}"))
    url = make_url(mysql_root_url).set(username=name, password=name, database=name)
    yield url.render_as_string(hide_password=False)
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"DROP USER {name}"))
        await connection.execute(text(f"DROP DATABASE {name}"))


async def test_missing_right_is_named_before_anything_is_created(mysql_root: AsyncEngine, address: str) -> None:
    with pytest.raises(Unavailable, match="run as an administrator: GRANT SELECT, INSERT") as refused:
        await require_grants(address)
    async with mysql_root.begin() as connection:
        await connection.execute(text(str(refused.value).partition("administrator: ")[2]))
    await require_grants(address)
    await migrate(address, migrations_folder())
    await require_grants(address)


async def test_service_with_its_tables_is_not_asked_for_rights_again(mysql_root: AsyncEngine, address: str) -> None:
    schema = make_url(address).database
    async with mysql_root.begin() as connection:
        await connection.execute(text(f"CREATE TABLE {schema}.alembic_version (version_num VARCHAR(32) PRIMARY KEY)"))
        await connection.execute(text(f"INSERT INTO {schema}.alembic_version SET version_num = '0001'"))
    await require_grants(address)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"password": "wrong"}, "MySQL: Access denied for user 'first_"),
        ({"database": "missing_one"}, "MySQL: Access denied for user 'first_"),
    ],
)
async def test_refused_login_is_explained(address: str, change: dict[str, str], problem: str) -> None:
    with pytest.raises(DBAPIError) as refused:
        await require_grants(make_url(address).set(**change).render_as_string(hide_password=False))
    assert start_problem(refused.value).startswith(problem)
