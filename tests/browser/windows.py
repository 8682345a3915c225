"""Windows of a real browser, and an eye on what goes wrong in them."""

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Response, async_playwright

from browser.users import logged_in_state
from e2e.users import User

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# A change goes through both stores before it is seen; the machine may be busy.
PATIENCE_MILLISECONDS = 120_000
# What Chromium writes to the console of every answer that is an error: see `Trouble.expected`.
_FAILED_ANSWER = re.compile(r"Failed to load resource: (the server responded with a status of|net::)")


@dataclass
class Trouble:
    """What went wrong in windows: errors in the console (of scripts, of the content security policy) and answers.

    A test that has the service refuse something says so: `trouble.expected |= {401}`.
    """

    expected: set[int] = field(default_factory=set)
    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)
        page.on("response", self._on_response)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not _FAILED_ANSWER.match(message.text):
            self.found.append(f"{message.type} in the console: {message.text} ({message.location})")

    def _on_error(self, error: Error) -> None:
        self.found.append(f"uncaught: {error}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.found.append(f"{response.status} of {response.request.method} {response.url}")


@dataclass(frozen=True)
class Windows:
    """Opens windows on the gateway, all of which are watched."""

    browser: Browser
    gateway: str
    trouble: Trouble
    profiles: list[BrowserContext]

    async def open(self, path: str = "/", *, user: User | None = None, **options: Any) -> Page:
        """A window of a browser of its own, in which this user is logged in; `options` are Playwright's."""
        state = None if user is None else await logged_in_state(self.gateway, user)
        options = {"viewport": DESKTOP, "reduced_motion": "reduce", "storage_state": state} | options
        context = await self.browser.new_context(base_url=self.gateway, **options)
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        context.on("page", self.trouble.watch)
        self.profiles.append(context)
        return await self.tab(context, path)

    async def tab(self, context: BrowserContext, path: str = "/") -> Page:
        """Another window of the same browser."""
        page = await context.new_page()
        await page.goto(path)
        await page.locator("main h1").wait_for()
        return page


@asynccontextmanager
async def running_chromium(gateway: str) -> AsyncIterator[Browser]:
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert program is not None, "Chromium is not installed; on Debian: sudo apt-get install chromium-headless-shell"
    async with async_playwright() as playwright:
        # Root has no sandbox, and all pages are our own. Chromium refuses ports of other protocols, of which a
        # free port may be one.
        browser = await playwright.chromium.launch(
            executable_path=program,
            chromium_sandbox=False,
            args=[f"--explicitly-allowed-ports={urlsplit(gateway).port}"],
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def watched_windows(browser: Browser, gateway: str) -> AsyncIterator[Windows]:
    windows = Windows(browser, gateway, Trouble(), [])
    try:
        yield windows
    finally:
        for profile in windows.profiles:
            for page in profile.pages:
                # The next test must not see answers to requests that are in flight when this one ends.
                await page.unroute_all(behavior="ignoreErrors")
            await profile.close()
    assert not windows.trouble.found, "\n".join(windows.trouble.found)
