"""Opening an account, logging in and out, and staying logged in."""

import asyncio
import secrets

import httpx
from playwright.async_api import BrowserContext, Locator, Page, Route, expect

from browser.windows import Windows
from e2e.users import User, found_by_others
from embedded_stack import Stack
from support.auth_app import Mailbox

RENEW = "async () => { const { session } = await import('/session.js'); await session.renew(); return session.user; }"


async def fill_in(page: Page, **fields: str) -> None:
    """By the names of fields in the interface; and send it."""
    for name, value in fields.items():
        await page.locator(f"form [name={name}]").fill(value)
    await page.locator("main form button[type=submit]").click()


async def log_in(page: Page, user: User, password: str | None = None) -> None:
    await page.goto("/login")
    await fill_in(page, login=user.username, password=password or user.password)


def error_at(page: Page, field: str) -> Locator:
    return page.locator(f"[data-field={field}] .error")


async def is_logged_in(page: Page, user: User) -> None:
    await expect(page.locator(".who")).to_contain_text(f"@{user.username}")


async def test_new_user_signs_up_tweets_edits_deletes_and_logs_out(page: Page, windows: Windows) -> None:
    elsewhere = await windows.open("/latest")
    username, password = f"grace_{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    await page.get_by_role("link", name="Sign up").click()
    await expect(page.get_by_role("heading", name="Sign up")).to_be_visible()
    await expect(page.get_by_label("Username")).to_be_focused()
    email = f"{username}@example.com"
    names = {"username": username, "email": email, "name": "Grace Hopper"}
    await fill_in(page, **names, password=password, password_confirm=password)
    await expect(page.locator(".who")).to_contain_text(f"@{username}")
    await expect(page).to_have_title("Home · Tandem")

    # Other pages show a name as soon as its copy has arrived.
    await found_by_others(windows.gateway, username)
    words = f"Nanoseconds, {secrets.token_hex(4)} #tandem"
    await page.get_by_label("New tweet").fill(words)
    await page.get_by_role("button", name="Tweet", exact=True).click()
    own = page.locator(".tweet", has_text=words)
    await expect(own).to_be_visible()
    await expect(page.get_by_label("New tweet")).to_have_value("")

    await elsewhere.get_by_role("button", name="new tweet").click()
    seen = elsewhere.locator(".tweet", has_text=words)
    await expect(seen).to_contain_text("Grace Hopper")

    await own.get_by_role("button", name="Edit").click()
    await page.get_by_label("Tweet text").fill(words + " and more")
    await page.get_by_role("button", name="Save").click()
    await expect(own).to_contain_text("and more")
    await expect(seen).to_contain_text("and more")
    await expect(seen).to_contain_text("edited")

    await own.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_text("This tweet was deleted.")).to_be_visible()
    await expect(elsewhere.get_by_text("This tweet was deleted.")).to_be_visible()

    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("link", name="Log in")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("link", name="Log in")).to_be_visible()


async def test_validation_errors_are_shown_at_their_fields(page: Page, windows: Windows, user: User) -> None:
    windows.trouble.expected |= {401, 409, 422}
    await log_in(page, user, "not the password")
    await expect(page.locator(".message")).to_have_text("Username, email or password is wrong.")
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()

    await page.goto("/register")
    await fill_in(page)
    await expect(error_at(page, "username")).to_contain_text("at least 3 characters")
    await expect(error_at(page, "email")).to_have_text("This is not an email address.")
    await expect(page.get_by_label("Username")).to_be_focused()
    taken = {"username": user.username, "email": "x@example.com", "name": "Ada"}
    await fill_in(page, **taken, password="correct horse", password_confirm="correct horse")
    await expect(error_at(page, "username")).to_have_text("This username is already taken.")
    await expect(error_at(page, "email")).to_be_empty()
    free = taken | {"username": f"new_{secrets.token_hex(4)}"}
    await fill_in(page, **free, password="password1", password_confirm="password1")
    await expect(error_at(page, "password")).to_have_text("This is one of the most common passwords.")
    await fill_in(page, **free, password="correct horse", password_confirm="another horse")
    await expect(error_at(page, "password_confirm")).to_have_text("The two passwords are not the same.")
    assert await page.get_by_label("Confirm password").get_attribute("aria-invalid") == "true"


async def test_reload_keeps_the_session_by_a_cookie_no_script_reads(page: Page, user: User) -> None:
    await log_in(page, user)
    await is_logged_in(page, user)
    await page.reload()
    await is_logged_in(page, user)
    (cookie,) = await page.context.cookies(f"{page.url}api/auth/v1/browser/refresh")
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/api/auth/v1/browser")
    assert cookie["expires"] == -1
    assert await page.evaluate("document.cookie") == ""
    kept = await page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }])")
    assert cookie["value"] not in kept
    assert "eyJ" not in kept


async def test_remembered_user_stays_logged_in_after_the_browser_closes(page: Page, user: User) -> None:
    await page.goto("/login")
    await page.get_by_label("Remember me").check()
    await fill_in(page, login=user.username, password=user.password)
    await is_logged_in(page, user)
    (cookie,) = await page.context.cookies(f"{page.url}api/auth/v1/browser/refresh")
    assert cookie["expires"] > 0


async def test_tabs_refresh_tokens_one_after_the_other(windows: Windows, user: User) -> None:
    one = await windows.open(user=user)
    other = await windows.tab(one.context)
    in_flight: list[Route] = []
    most = 0

    async def count(route: Route) -> None:
        nonlocal most
        in_flight.append(route)
        # A tab that does not wait sends its own before it answers this.
        for tab in (one, other) * 3:
            await tab.evaluate("fetch('/icon.svg').then(() => {})")
        most = max(most, len(in_flight))
        answer = await route.fetch()
        in_flight.remove(route)
        await route.fulfill(response=answer)

    await one.context.route("**/browser/refresh", count)
    renewals = f"Promise.all(Array.from({{ length: 5 }}, {RENEW}))"
    for renewed in await asyncio.gather(*(tab.evaluate(renewals) for tab in (one, other))):
        assert [each["username"] for each in renewed] == [user.username] * 5
    assert most == 1
    for tab in (one, other):
        await tab.reload()
        await is_logged_in(tab, user)


async def test_tabs_log_in_and_out_together(windows: Windows, user: User) -> None:
    one = await windows.open()
    other = await windows.tab(one.context, "/about")
    await one.bring_to_front()
    await log_in(one, user)
    await is_logged_in(other, user)
    await one.get_by_role("button", name="Log out").click()
    await expect(other.get_by_role("link", name="Log in")).to_be_visible()


async def test_session_ended_elsewhere_leads_to_the_login_and_back(windows: Windows, user: User) -> None:
    windows.trouble.expected |= {401}
    page = await windows.open("/settings", user=user)
    renewals = await count_of(page.context, "**/browser/refresh")
    assert (await user.client.post("/api/auth/v1/logout-all")).status_code == 204
    await page.get_by_role("button", name="Save profile").click()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await expect(page.get_by_text("Your session has ended.")).to_be_visible()
    assert len(renewals) == 1
    await fill_in(page, login=user.username, password=user.password)
    await expect(page.get_by_role("heading", name="Settings")).to_be_visible()


async def test_draft_is_kept_until_the_user_has_logged_in_again(windows: Windows, user: User) -> None:
    windows.trouble.expected |= {401}
    page = await windows.open("/latest", user=user)
    words = f"words {secrets.token_hex(4)}"
    await page.get_by_label("New tweet").fill(words)
    assert (await user.client.post("/api/auth/v1/logout-all")).status_code == 204
    assert await page.evaluate(RENEW) is None
    await page.get_by_role("link", name="Log in").click()
    await expect(page.get_by_label("Username or email")).to_be_focused()
    await fill_in(page, login=user.username, password=user.password)
    await expect(page.get_by_label("New tweet")).to_have_value(words)
    await page.get_by_role("button", name="Tweet", exact=True).click()
    await expect(page.locator(".tweet", has_text=words)).to_be_visible()
    await page.get_by_role("link", name="Latest").click()
    await expect(page.get_by_role("heading", name="Latest")).to_be_visible()
    await expect(page.get_by_label("New tweet")).to_have_value("")


async def test_token_is_used_until_it_expires_if_refreshing_fails(windows: Windows, user: User) -> None:
    page = await windows.open("/about", user=user)
    await page.clock.install()
    windows.trouble.expected |= {503}
    await page.context.route("**/browser/refresh", lambda route: route.fulfill(status=503))
    ask = "async () => (await import('/session.js')).session.accessToken().then(() => 'good', () => 'none')"
    # The page renews its token from half a minute before it expires; opening the page may have taken some of that.
    for minutes, answer in {"14:31": "good", "01:00": "none"}.items():
        await page.clock.fast_forward(minutes)
        assert await page.evaluate(ask) == answer


async def test_invalid_cookie_leads_to_the_login_without_a_loop(windows: Windows, user: User) -> None:
    """A thief had it first, or its successor was lost: the server has ended the session."""
    windows.trouble.expected |= {401}
    page = await windows.open("/about", user=user)
    (cookie,) = await page.context.cookies(f"{windows.gateway}/api/auth/v1/browser/refresh")
    await page.context.add_cookies([{**cookie, "value": "spent"}])
    renewals = await count_of(page.context, "**/browser/refresh")
    await page.goto("/settings")
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert len(renewals) == 1
    assert await page.context.cookies(f"{windows.gateway}/api/auth/v1/browser/refresh") == []


async def count_of(context: BrowserContext, requests: str) -> list[str]:
    """Grows with each request like this, all of which go on."""
    seen: list[str] = []

    async def note(route: Route) -> None:
        seen.append(route.request.url)
        await route.continue_()

    await context.route(requests, note)
    return seen


async def test_login_redirects_to_no_other_site(page: Page, windows: Windows) -> None:
    ask = "async (next) => (await import('/navigation.js')).nextOf({ search: '?' + next, origin: location.origin })"

    async def leads_to(next_page: str) -> str:
        return await page.evaluate(ask, str(httpx.QueryParams({"next": next_page})))

    assert await leads_to("/people/ada?tab=1") == "/people/ada?tab=1"
    for foreign in (
        "//evil.test/",
        "https://evil.test/x",
        "javascript:alert(1)",
        "/\\evil.test",
        "/.//evil.test",
        "data:text/html,x",
        "http://[",
    ):
        assert await leads_to(foreign) == "/"
    assert await leads_to(f"{windows.gateway}/about") == "/about"


async def test_mails_lead_to_pages_that_set_a_password_and_confirm_an_address(
    page: Page, windows: Windows, user: User, stack: Stack
) -> None:
    windows.trouble.expected |= {422}
    email, password = f"{user.username}@example.com", secrets.token_urlsafe(16)
    async with httpx.AsyncClient(base_url=stack.addresses["MAIL_URL"], timeout=20) as client:
        mailbox = Mailbox(client)
        confirm = await mailbox.token(email, "confirm your email")
        await page.goto("/login")
        await page.get_by_role("link", name="Forgot your password?").click()
        await fill_in(page, email=email)
        await expect(page.get_by_text("we sent it an email")).to_be_visible()
        reset = await mailbox.token(email, "choose a new password")
    await page.goto(f"/confirm-email#token={confirm}")
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_role("heading", name="Email confirmed")).to_be_focused()
    await page.goto(f"/confirm-email#token={confirm}")
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_text("The token is unknown, used or older than a day")).to_be_visible()

    await page.goto(f"/reset-password#token={reset}")
    await expect(page).to_have_url(f"{windows.gateway}/reset-password")
    await page.get_by_role("link", name="About").click()
    await page.go_back()
    await expect(page.get_by_role("heading", name="Incomplete link")).to_be_visible()
    await page.goto("/about")
    await page.goto(f"/reset-password#token={reset}")
    await fill_in(page, new_password="12345678")
    await expect(error_at(page, "new_password")).to_contain_text("most common")
    await fill_in(page, new_password=password)
    await expect(page.get_by_text("Password changed.")).to_be_visible()
    await fill_in(page, login=user.username, password=password)
    await is_logged_in(page, user)


async def test_mail_leads_to_a_page_that_undoes_a_change_of_the_address(
    windows: Windows, user: User, stack: Stack
) -> None:
    old, new = f"{user.username}@example.com", f"{user.username}@example.org"
    change = {"email": new, "current_password": user.password}
    assert (await user.client.patch("/api/auth/v1/users/me", json=change)).status_code == 200
    async with httpx.AsyncClient(base_url=stack.addresses["MAIL_URL"], timeout=20) as client:
        mailbox = Mailbox(client)
        confirm = {"token": await mailbox.token(new, "confirm your new email")}
        assert (await user.client.post("/api/auth/v1/email/verify", json=confirm)).status_code == 204
        undo = await mailbox.token(old, "email address was changed")
    page = await windows.open(f"/undo-email#token={undo}", user=user)
    await expect(page).to_have_url(f"{windows.gateway}/undo-email")
    await page.get_by_role("button", name="Restore my email").click()
    await expect(page.get_by_role("heading", name="Forgot your password?")).to_be_visible()
    await expect(page.get_by_text("Your email is restored")).to_be_visible()
    await expect(page.locator(".who")).to_have_count(0)
    await log_in(page, user)
    await is_logged_in(page, user)
    await page.goto("/settings")
    await expect(page.locator("section.settings")).to_contain_text(f"{old} is confirmed.")
