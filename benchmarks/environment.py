"""The stack that a part measures: a separate one on free ports, with a temporary state folder."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import asyncmy
from sqlalchemy.engine import make_url

from embedded_stack import Stack, temporary_stack
from embedded_stack.configuration import REPOSITORY

LOGS = REPOSITORY / ".stack-bench" / "log"


@contextmanager
def running_stack(*components: str) -> Iterator[Stack]:
    """Run these components and their dependencies. The logs of the last run stay in `.stack-bench/log`."""
    with temporary_stack("tandem-bench-", logs=LOGS, progress=print_progress) as stack:
        stack.start(*components)
        yield stack


def variables_of_sync(addresses: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of sync-service's commands on a stack with these addresses."""
    return {
        "MYSQL_URL": addresses["SYNC_MYSQL_URL"],
        **{name: addresses[name] for name in ("MONGODB_URL", "KAFKA_BOOTSTRAP_SERVERS")},
    }


def mysql_version(stack: Stack) -> str:
    return asyncio.run(_mysql_version(stack.addresses["MYSQL_ROOT_URL"]))


def print_progress(line: str) -> None:
    print(line, flush=True)


async def _mysql_version(root_url: str) -> str:
    url = make_url(root_url)
    connection: Any = await asyncmy.connect(
        host=url.host, port=url.port or 3306, user=url.username, password=url.password or ""
    )
    async with connection, connection.cursor() as cursor:
        await cursor.execute("SELECT VERSION()")
        (version,) = await cursor.fetchone()
        return str(version)
