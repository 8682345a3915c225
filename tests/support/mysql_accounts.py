"""Accounts of MySQL with few rights, for tests."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine


@asynccontextmanager
async def account_of_schema(root: AsyncEngine, schema_url: str, privileges: str) -> AsyncIterator[str]:
    """The address of a new account that has these privileges on the schema, and nothing else."""
    name, url = f"sync_{secrets.token_hex(4)}", make_url(schema_url)
    async with root.begin() as connection:
        await connection.execute(text(f"CREATE USER {name} IDENTIFIED BY '{name}'"))
        await connection.execute(text(f"GRANT {privileges} ON {url.database}.* TO {name}"))
    yield url.set(username=name, password=name).render_as_string(hide_password=False)
    async with root.begin() as connection:
        await connection.execute(text(f"DROP USER {name}"))
