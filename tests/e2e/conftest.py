"""A running system, a user of it, and access to its databases."""

from collections.abc import AsyncIterator

import pytest

from e2e.copies import Copies, copies_of
from e2e.users import Register, User, registration
from embedded_stack import Stack


@pytest.fixture
async def register(running_stack: Stack) -> AsyncIterator[Register]:
    """Registers users of the test: `await register()`."""
    async with registration(running_stack.addresses["GATEWAY_URL"]) as register:
        yield register


@pytest.fixture
async def user(register: Register) -> User:
    return await register()


@pytest.fixture
async def copies(running_stack: Stack) -> AsyncIterator[Copies]:
    async with copies_of(running_stack) as copies:
        yield copies
