"""The page of the sync, as a technical worker uses it."""

import asyncio
import secrets

import pytest
from aiokafka import AIOKafkaProducer
from playwright.async_api import Locator, Page, Route, expect

from browser.test_every_page import look_at
from browser.users import NewUser
from browser.windows import Windows
from e2e.users import User
from embedded_stack import Stack

TOPIC, ROUTE = "cdc.mongo.tweets.tweets", "tweets"


@pytest.fixture
async def worker(new_user: NewUser) -> User:
    return await new_user("technical_worker")


@pytest.fixture
async def page(windows: Windows, worker: User) -> Page:
    """The page of the sync, when it hears of events."""
    page = await windows.open("/sync", user=worker)
    await expect(page.get_by_text("Connected.")).to_be_visible()
    return page


def event(page: Page, text: str) -> Locator:
    return page.locator(".event", has_text=text).first


async def test_feed_shows_changes_with_their_fields(page: Page, worker: User, user: User) -> None:
    text = f"words {secrets.token_hex(4)}"
    await user.tweet(text)
    created = event(page, text)
    await expect(created).to_have_attribute("data-op", "create")
    await expect(created.locator(".head")).to_contain_text(ROUTE)

    name = f"Ada {secrets.token_hex(4)}"
    await user.client.patch("/api/auth/v1/users/me", json={"name": name})
    renamed = event(page, name)
    await expect(renamed).to_have_attribute("data-op", "update")
    await expect(renamed.locator(".changed", has_text="name").locator("del")).to_have_text('"Ada"')
    await expect(renamed.locator(".changed", has_text="name").locator("ins")).to_have_text(f'"{name}"')
    await expect(renamed.get_by_text("fields unchanged")).to_be_visible()

    await page.locator(".feed").get_by_label("Route").select_option("users")
    await expect(page.get_by_text("Connected.")).to_be_visible()
    other, again = f"words {secrets.token_hex(4)}", f"Ada {secrets.token_hex(4)}"
    await user.tweet(other)
    await user.client.patch("/api/auth/v1/users/me", json={"name": again})
    await expect(event(page, again)).to_be_visible()
    await expect(event(page, other)).to_have_count(0)

    await page.get_by_role("button", name="Pause", exact=True).click()
    last = f"Ada {secrets.token_hex(4)}"
    await user.client.patch("/api/auth/v1/users/me", json={"name": last})
    await expect(page.get_by_text("1 new event")).to_be_visible()
    await expect(event(page, last)).to_have_count(0)
    await page.get_by_role("button", name="Resume", exact=True).click()
    await expect(event(page, last)).to_be_visible()


async def test_stopped_component_is_explained_and_recovers(
    page: Page, windows: Windows, breakable_stack: Stack
) -> None:
    summary = page.locator(".summary")
    await expect(summary).to_contain_text("All parts are running")
    await asyncio.to_thread(breakable_stack.stop_one, "registrar")
    await expect(page.locator(".pipeline")).to_contain_text("ConnectError")
    await expect(summary).to_contain_text("Debezium: Unknown")
    await asyncio.to_thread(breakable_stack.start, "registrar")
    await expect(summary).to_contain_text("All parts are running")

    windows.trouble.expected |= {502, 503}
    await asyncio.to_thread(breakable_stack.stop_one, "sync")
    await expect(summary).to_contain_text("sync-service is not responding")
    await expect(page.locator(".pipeline")).to_contain_text("is not responding")
    await asyncio.to_thread(breakable_stack.start, "sync")
    await expect(summary).to_contain_text("All parts are running")
    await expect(page.get_by_text("Connected.")).to_be_visible()


async def test_dead_letter_is_shown_retried_and_discarded(page: Page, running_stack: Stack) -> None:
    poison = f"{{not json {secrets.token_hex(4)}"
    async with AIOKafkaProducer(bootstrap_servers=running_stack.addresses["KAFKA_BOOTSTRAP_SERVERS"]) as producer:
        await producer.send_and_wait(TOPIC, poison.encode(), key=poison.encode())
    await page.locator(".dead-letters").get_by_label("Route").select_option(ROUTE)
    letter = page.locator(".dead-letter", has_text=poison)
    await expect(letter).to_be_visible()
    # Until the list of all routes is replaced by that of this one, which closes open details.
    other_routes = page.locator(".dead-letter .head strong").filter(has_not_text=ROUTE)
    await expect(other_routes).to_have_count(0)
    await letter.get_by_text("Event", exact=True).click()
    await expect(letter.locator("pre").first).to_contain_text(poison)
    await letter.get_by_role("button", name="Retry").click()
    result = page.locator(".dead-letters .status")
    await expect(result).to_contain_text("rejected again")
    await letter.get_by_role("button", name="Discard").click()
    await page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    await expect(result).to_contain_text("discarded")
    await expect(letter).to_have_count(0)


async def test_route_is_paused_and_resumed(page: Page) -> None:
    section = page.get_by_role("region", name="Stopped and paused routes")
    await section.get_by_label("Route").select_option("follows")
    await section.get_by_role("button", name="Pause route").click()
    result = section.get_by_role("status")
    await expect(result).to_have_text("Route follows is paused: none of its events is applied.", timeout=60_000)
    await section.get_by_role("button", name="Resume follows").click()
    await expect(result).to_contain_text("Route follows is resumed.")
    await expect(section.get_by_role("button", name="Resume follows")).to_have_count(0)


async def test_route_selected_while_dead_letters_load_is_loaded(page: Page) -> None:
    route = page.locator(".dead-letters").get_by_label("Route")
    await expect(route.get_by_role("option", name=ROUTE)).to_be_attached()
    goes_on = asyncio.Event()

    async def hold(held: Route) -> None:
        await goes_on.wait()
        await held.continue_()

    await page.route("**/dead-letters?*", hold)
    async with page.expect_request(lambda request: request.url.endswith("route=likes")):
        await route.select_option(ROUTE)
        await route.select_option("likes")
        goes_on.set()


async def test_both_stores_are_counted_and_compared(page: Page, user: User) -> None:
    await user.tweet("to be counted and compared")
    counts = page.locator(".counts tr[data-route=tweets]")
    await expect(counts).to_contain_text("In sync")
    comparing = page.locator(".reconcile")
    await comparing.get_by_label("Route").select_option(ROUTE)
    await comparing.get_by_role("button", name="Compare").click()
    report = comparing.get_by_role("region", name="Report of tweets")
    await expect(report).to_contain_text("In sync")
    await expect(report).to_contain_text("compared in")

    await comparing.get_by_label("Repair differences").check()
    await comparing.get_by_role("button", name="Compare").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(comparing.get_by_role("button", name="Compare")).to_be_enabled()


async def test_page_needs_permission(windows: Windows, user: User) -> None:
    page = await windows.open("/sync", user=user)
    await expect(page.get_by_role("heading", name="Permission denied")).to_be_visible()
    await expect(page.get_by_role("link", name="Sync")).to_have_count(0)


async def test_page_is_accessible(page: Page) -> None:
    found = await look_at(page, "sync", "/sync")
    assert not found, "\n".join(found)


async def test_reader_of_the_sync_can_change_nothing(windows: Windows, new_user: NewUser) -> None:
    page = await windows.open("/sync", user=await new_user("senior_manager"))
    await expect(page.get_by_role("heading", name="Compare rows")).to_be_visible()
    await expect(page.get_by_text("Loading …")).to_have_count(0)
    for name in ("Compare", "Retry", "Discard"):
        await expect(page.get_by_role("button", name=name)).to_have_count(0)
