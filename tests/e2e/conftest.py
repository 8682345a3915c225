"""A running system, a user of it, and access to its databases."""

from collections.abc import AsyncIterator

import pytest

from e2e.copies import Copies, copies_of
from e2e.users import User, register
from embedded_stack import Stack


@pytest.fixture
async def user(running_stack: Stack) -> AsyncIterator[User]:
    user = await register(running_stack.addresses["GATEWAY_URL"])
    yield user
    await user.client.aclose()


@pytest.fixture
async def copies(running_stack: Stack) -> AsyncIterator[Copies]:
    async with copies_of(running_stack) as copies:
        yield copies
