"""What is around the pages: files, addresses, the keyboard, the theme."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, expect

from browser.windows import PHONE, Windows
from embedded_stack import Stack

WEB = Path(__file__).parents[2] / "web"


@pytest.fixture
def gateway(running_stack: Stack) -> str:
    return running_stack.addresses["GATEWAY_URL"]


def test_page_paths_answer_the_shell_and_missing_files_404(gateway: str) -> None:
    routes = re.findall(r'path: "([^"]+)"', (WEB / "app.js").read_text())
    assert {"/", "/settings", "/sync"} <= set(routes)
    for route in routes:
        path = re.sub(r":\w+", "a", route)
        answer = httpx.get(gateway + path)
        assert (answer.status_code, answer.text) == (200, (WEB / "index.html").read_text()), path
    for missing in ("/nothing.js", "/pages/nothing.js", "/.git/config.txt", "/api/nothing", "/api/auth/v1/nothing"):
        assert httpx.get(gateway + missing).status_code == 404, missing


def test_every_page_of_a_route_is_a_module(gateway: str) -> None:
    pages = re.findall(r'page: "([^"]+)"', (WEB / "app.js").read_text())
    assert {f"{page}.js" for page in pages} == {file.name for file in (WEB / "pages").glob("*.js")}


def test_files_are_revalidated_and_not_sent_again(gateway: str) -> None:
    for path in ("/", "/app.js", "/styles/base.css", "/icon.svg"):
        first = httpx.get(gateway + path)
        assert first.headers["cache-control"] == "no-cache"
        again = httpx.get(gateway + path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_policy_allows_only_own_scripts_and_styles(gateway: str) -> None:
    policy = httpx.get(gateway + "/people/ada").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    shell = httpx.get(gateway + "/").text
    assert re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)", shell) is None
    preloaded = re.findall(r'modulepreload" href="([^"]+)"', shell)
    assert preloaded
    assert all((WEB / path.lstrip("/")).is_file() for path in preloaded)


async def test_documentation_pages_load_nothing_from_other_sites(page: Page, gateway: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for service, call in {"auth": "/v1/browser/refresh", "tweets": "/v1/timeline", "sync": "/v1/pipeline"}.items():
        answer = await page.goto(f"/api/{service}/docs")
        assert answer is not None
        policy = (await answer.all_headers())["content-security-policy"]
        assert "unsafe" not in policy
        assert "http" not in policy
        await expect(page.locator(f"[data-path='{call}']")).to_be_visible()
        await page.get_by_role("button", name="Authorize").first.click()
        await expect(page.get_by_text("Token URL:")).to_contain_text("v1/token")
    assert [url for url in asked if not url.startswith((gateway, "data:"))] == []


async def test_history_navigates_without_reloading(page: Page) -> None:
    await page.evaluate("globalThis.isTheSame = true")
    for link, heading in {"Trends": "Trends", "About": "About Tandem"}.items():
        await page.get_by_role("link", name=link, exact=True).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        await expect(page.get_by_role("heading", level=1)).to_be_focused()
        await expect(page).to_have_title(f"{heading} · Tandem")
    await expect(page.get_by_role("link", name="About")).to_have_attribute("aria-current", "page")
    await page.go_back()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Trends")
    await page.go_forward()
    await expect(page.get_by_role("heading", level=1)).to_have_text("About Tandem")
    assert await page.evaluate("globalThis.isTheSame")


async def test_keyboard_skips_to_the_content(page: Page) -> None:
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()


async def test_theme_is_the_systems_until_one_is_chosen(windows: Windows) -> None:
    page = await windows.open("/about", color_scheme="dark", viewport=PHONE)
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = await page.evaluate(ground)
    switch = page.get_by_role("button", name="Theme: system")
    await switch.click()
    light = await page.evaluate(ground)
    assert light != dark
    await page.reload()
    await expect(page.get_by_role("button", name="Theme: light")).to_be_visible()
    assert await page.evaluate(ground) == light
    await page.get_by_role("button", name="Theme: light").click()
    assert await page.evaluate(ground) == dark
