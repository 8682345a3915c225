"""Every page, light and dark, wide and narrow: accessible by axe's rules, and without anything in the console.

Screenshots of all of them are left in `.stack-test/screenshots`.
"""

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Page

from browser.users import NewUser
from browser.windows import PHONE, Windows
from e2e.users import User

SCREENSHOTS = Path(__file__).parents[2] / ".stack-test" / "screenshots"
GRAVE = {"serious", "critical"}


@pytest.fixture
async def life(new_user: NewUser) -> dict[str, str]:
    """Two users and a conversation of every kind. Returns the paths of pages about them."""
    ada, bob = await new_user("admin"), await new_user()
    tag = f"tandem{secrets.token_hex(3)}"
    first = await ada.tweet(f"Two stores, one story. #{tag} https://example.org/a/rather/long/address")
    await bob.tweet("A reply, with @" + ada.username, reply_to=first["id"])
    answered = await bob.tweet("This is going to be deleted", reply_to=first["id"])
    await ada.tweet("An answer to a gap", reply_to=answered["id"])
    assert (await bob.client.delete(f"/api/tweets/v1/tweets/{answered['id']}")).status_code == 204
    await bob.tweet(f"Look at this #{tag}", quote_of=first["id"])
    for path in (f"tweets/{first['id']}/like", f"tweets/{first['id']}/repost", f"users/{ada.username}/follow"):
        assert (await bob.client.put(f"/api/tweets/v1/{path}")).status_code in (200, 204)
    return {
        "tweet": f"/tweets/{first['id']}",
        "profile": f"/people/{ada.username}",
        "followers": f"/people/{ada.username}/followers",
        "following": f"/people/{bob.username}/following",
        "hashtag": f"/hashtags/{tag}",
        "search": f"/search?q={tag}",
        "trends": "/trends",
        "latest": "/latest",
        "about": "/about",
    }


async def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds that is serious or critical, by all rules or by these."""
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    if not await page.evaluate("'axe' in globalThis"):
        await page.evaluate(AXE_SCRIPT)
    found = (await page.evaluate("options => axe.run(options)", options))["violations"]
    return [
        f"{each['id']}: {each['help']}: {node['html']} {node['failureSummary']}"
        for each in found
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]


async def look_at(page: Page, name: str, path: str) -> list[str]:
    """The same page in light, in dark, and on a phone."""
    await page.goto(path)
    await page.locator("main h1").wait_for()
    found = await violations(page)
    await page.screenshot(path=SCREENSHOTS / f"{name}-light.png", full_page=True)
    await page.emulate_media(color_scheme="dark")
    found += await violations(page, "color-contrast")
    await page.screenshot(path=SCREENSHOTS / f"{name}-dark.png", full_page=True)
    await page.emulate_media(color_scheme="light")
    wide = page.viewport_size
    assert wide is not None
    await page.set_viewport_size(PHONE)
    overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if overflow > 0:
        found.append(f"{overflow} pixels too wide for a phone")
    await page.screenshot(path=SCREENSHOTS / f"{name}-phone.png", full_page=True)
    await page.set_viewport_size(wide)
    return [f"{name}: {each}" for each in found]


async def look_at_all(windows: Windows, paths: dict[str, str], user: User | None = None) -> list[str]:
    """Two windows share the work."""

    async def check(part: list[tuple[str, str]]) -> list[str]:
        page = await windows.open("/about", user=user)
        return [each for name, path in part for each in await look_at(page, name, path)]

    pages = list(paths.items())
    return [each for found in await asyncio.gather(check(pages[::2]), check(pages[1::2])) for each in found]


async def test_pages_of_visitors_are_accessible(windows: Windows, life: dict[str, str]) -> None:
    windows.trouble.expected |= {404}
    own = {
        "welcome": "/",
        "login": "/login",
        "register": "/register",
        "forgot-password": "/forgot-password",
        "reset-password": "/reset-password#token=x",
        "confirm-email": "/confirm-email#token=x",
        "undo-email": "/undo-email#token=x",
        "not-found": "/nowhere",
        "nobody": "/people/nobody_of_this_name",
    }
    found = await look_at_all(windows, own | life)
    assert not found, "\n".join(found)


async def test_pages_of_a_logged_in_user_are_accessible(
    windows: Windows, life: dict[str, str], new_user: NewUser
) -> None:
    admin: User = await new_user("admin")
    await admin.client.put(f"/api/tweets/v1/users/{life['profile'].removeprefix('/people/')}/follow")
    own = {"home": "/", "settings": "/settings", "users": "/users", "own-profile": f"/people/{admin.username}"}
    own["own-tweet"] = life["tweet"]
    found = await look_at_all(windows, own, admin)
    page = await windows.open(user=admin)
    for name, button in {"reply": "Reply", "quote": "Quote"}.items():
        await page.goto(life["tweet"])
        await page.locator(".tweet.main").get_by_role("button", name=button).click()
        await page.get_by_role("dialog").wait_for()
        found += await violations(page)
        await page.screenshot(path=SCREENSHOTS / f"dialog-{name}.png")
    assert not found, "\n".join(found)
