"""A MongoDB with accounts. (That of the embedded stack has none.)"""

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pymongo
import pytest

from embedded_stack import Stack
from embedded_stack.components.base import LOOPBACK
from embedded_stack.process import Command, ComponentProcess
from support.polling import eventually
from support.ports import free_port

if TYPE_CHECKING:
    Client = pymongo.MongoClient[dict[str, Any]]

ROOT_PASSWORD = "phrase"


@pytest.fixture(scope="package")
async def address(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """`127.0.0.1:PORT` of a MongoDB with accounts, whose root is `root`."""
    stack.start("mongo")
    folder, port = tmp_path_factory.mktemp("mongod"), free_port()
    key = folder / "key"
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


@pytest.fixture
def root(address: str) -> "Iterator[Client]":
    with pymongo.MongoClient[dict[str, Any]](f"mongodb://root:{ROOT_PASSWORD}@{address}/?replicaSet=rs0") as client:
        yield client
