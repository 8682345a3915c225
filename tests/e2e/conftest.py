"""A running system, a user of it, and access to its databases."""

from collections.abc import AsyncIterator

import pymongo
import pytest

from e2e.copies import Copies, Document
from e2e.users import User, register
from embedded_stack import Stack
from service_kit.mysql import create_engine


@pytest.fixture
async def user(running_stack: Stack) -> AsyncIterator[User]:
    user = await register(running_stack.addresses["GATEWAY_URL"])
    yield user
    await user.client.aclose()


@pytest.fixture
async def copies(running_stack: Stack) -> AsyncIterator[Copies]:
    engine = create_engine(running_stack.addresses["MYSQL_ROOT_URL"])
    with pymongo.MongoClient[Document](running_stack.addresses["MONGODB_URL"], tz_aware=True) as mongo:
        yield Copies(engine, mongo)
    await engine.dispose()
