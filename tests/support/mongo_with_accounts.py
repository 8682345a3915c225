"""A MongoDB with accounts. (That of the embedded stack has none.)"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pymongo

from embedded_stack import Stack
from embedded_stack.components.base import LOOPBACK
from embedded_stack.process import Command, ComponentProcess
from support.polling import eventually
from support.ports import free_port

ROOT_PASSWORD = "phrase"


@asynccontextmanager
async def mongo_with_accounts(stack: Stack, folder: Path) -> AsyncIterator[str]:
    """`127.0.0.1:PORT` of a replica set `rs0` whose root is `root`. It is a program of `stack`, and no component."""
    stack.components["mongo"].fetch()
    port, key = free_port(), folder / "key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    (folder / "data").mkdir()
    like = stack.components["mongo"].command()
    options = ["--dbpath", folder / "data", "--port", port, "--bind_ip", LOOPBACK, "--replSet", "rs0", "--nounixsocket"]
    process = ComponentProcess("mongo-with-accounts", folder)
    process.start(Command([like.argv[0], *map(str, options), "--quiet", "--keyFile", str(key)], like.environment))
    try:
        await _initialize(port)
        yield f"{LOOPBACK}:{port}"
    finally:
        process.stop(10)


async def _initialize(port: int) -> None:
    """MongoDB permits this without an account, as long as there is none."""
    member = {"_id": 0, "host": f"{LOOPBACK}:{port}"}
    with pymongo.MongoClient[dict[str, Any]](LOOPBACK, port, directConnection=True) as client:

        async def is_primary() -> bool:
            return bool(client.admin.command("hello")["isWritablePrimary"])

        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
        await eventually(is_primary)
        client.admin.command("createUser", "root", pwd=ROOT_PASSWORD, roles=["root"])
