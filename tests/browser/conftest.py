"""A real browser on the running system, and users with accounts.

The web UI is tested through Chromium. Every window is watched: a test fails if there was an error in the console, a
breach of the content security policy, or an answer of 400 or more that it has not announced (`windows.trouble`).
"""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect

from browser.users import NewUser
from browser.windows import PATIENCE_MILLISECONDS, Windows, running_chromium, watched_windows
from e2e.copies import copies_of
from e2e.users import User, found_by_others, registration
from embedded_stack import Stack

expect.set_options(timeout=PATIENCE_MILLISECONDS)


@pytest.fixture(scope="session")
async def chromium(running_stack: Stack) -> AsyncIterator[Browser]:
    async with running_chromium(running_stack.addresses["GATEWAY_URL"]) as browser:
        yield browser


@pytest.fixture
async def windows(chromium: Browser, running_stack: Stack) -> AsyncIterator[Windows]:
    """Opens windows; see `Windows.open`."""
    async with watched_windows(chromium, running_stack.addresses["GATEWAY_URL"]) as windows:
        yield windows


@pytest.fixture
async def page(windows: Windows) -> Page:
    """A visitor's window."""
    return await windows.open()


@pytest.fixture
async def new_user(running_stack: Stack) -> AsyncIterator[NewUser]:
    """Opens an account over REST that others find: `await new_user("admin")`.

    `client` has no token for the role, only a browser.
    """
    gateway = running_stack.addresses["GATEWAY_URL"]
    async with registration(gateway) as register, copies_of(running_stack) as copies:

        async def make(role: str = "customer") -> User:
            user = await register()
            if role != "customer":
                await copies.execute("UPDATE auth.users SET role = :role WHERE id = :id", role=role, id=user.id)
            await found_by_others(gateway, user.username)
            return user

        yield make


@pytest.fixture
async def user(new_user: NewUser) -> User:
    """A user with an account."""
    return await new_user()
