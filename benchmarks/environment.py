"""The stack that a part measures: real components of its own, on free ports, with a temporary state folder."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncmy
from sqlalchemy.engine import make_url

from embedded_stack import Stack, StackConfiguration
from embedded_stack.configuration import REPOSITORY, free_port_offset

LOGS = REPOSITORY / ".stack-bench" / "log"


@contextmanager
def temporary_stack(*components: str) -> Iterator[Stack]:
    """These components and what they depend on. The logs of the last run are kept in `.stack-bench/log`."""
    state = Path(tempfile.mkdtemp(prefix="tandem-bench-"))
    # The environment's MYSQL_URL and the like must not lead the load to somebody's real database.
    outside = dict.fromkeys(("outside_mysql", "outside_mysql_account", "outside_mongodb", "outside_kafka"))
    configuration = StackConfiguration(state_dir=state, port_offset=free_port_offset(), outside_connect=None, **outside)
    stack = Stack(configuration, progress=say)
    try:
        stack.start(*components)
        yield stack
    finally:
        stack.stop(drain=False)
        shutil.rmtree(LOGS, ignore_errors=True)
        if (state / "log").exists():
            shutil.copytree(state / "log", LOGS)
        shutil.rmtree(state)


def mysql_version(stack: Stack) -> str:
    return asyncio.run(_mysql_version(stack.addresses["MYSQL_ROOT_URL"]))


def say(line: str) -> None:
    """Tell whoever waits how far it is."""
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
