"""The accounts of MySQL, and statements that the stack executes there."""

import asyncio
import re
import string
from collections.abc import Sequence
from typing import Any

from embedded_stack.components.base import Environment, MySQLAccount
from embedded_stack.configuration import REPOSITORY

ACCOUNTS = REPOSITORY / "infra" / "mysql" / "accounts.sql"


def create_accounts(environment: Environment) -> None:
    """Create schemas and least-privilege accounts from the file that the container runs at its first start."""
    credentials = environment.credentials
    script = string.Template(ACCOUNTS.read_text()).substitute(
        MYSQL_AUTH_PASSWORD=credentials.mysql_auth_service,
        MYSQL_SYNC_PASSWORD=credentials.mysql_sync_service,
        MYSQL_DEBEZIUM_PASSWORD=credentials.mysql_debezium,
    )
    script = re.sub(r"^--.*$", "", script, flags=re.MULTILINE)
    # Otherwise a warning is printed for everything that exists.
    quiet = "SET sql_notes = 0, max_error_count = 0"
    account = MySQLAccount.parse(environment.addresses["MYSQL_ROOT_URL"])
    execute(account, [quiet, *(part for part in script.split(";") if part.strip())])


def execute(account: MySQLAccount, statements: Sequence[str]) -> Sequence[Any]:
    """Execute the statements in one session. Return the rows of the last one."""
    return asyncio.run(_execute(account, statements))


async def _execute(account: MySQLAccount, statements: Sequence[str]) -> Sequence[Any]:
    import asyncmy  # noqa: PLC0415 - a supervisor has no use for it and runs for long

    connection: Any = await asyncmy.connect(
        host=account.host, port=account.port, user=account.user, password=account.password, connect_timeout=3
    )
    async with connection, connection.cursor() as cursor:
        for statement in statements:
            await cursor.execute(statement)
        rows: Sequence[Any] = await cursor.fetchall()
        return rows
