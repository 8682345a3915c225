"""A MongoDB with accounts. (That of the embedded stack has none.)"""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pymongo
import pytest

from embedded_stack import Stack
from support.mongo_with_accounts import ROOT_PASSWORD, mongo_with_accounts

if TYPE_CHECKING:
    Client = pymongo.MongoClient[dict[str, Any]]


@pytest.fixture(scope="package")
async def address(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """`127.0.0.1:PORT` of a MongoDB with accounts, whose root is `root`."""
    async with mongo_with_accounts(stack, tmp_path_factory.mktemp("mongod")) as address:
        yield address


@pytest.fixture
def root(address: str) -> "Iterator[Client]":
    with pymongo.MongoClient[dict[str, Any]](f"mongodb://root:{ROOT_PASSWORD}@{address}/?replicaSet=rs0") as client:
        yield client
