"""One's own account, and those of others."""

import json
import secrets
from pathlib import Path

import httpx
from playwright.async_api import Page, expect

from browser.users import NewUser
from browser.windows import Windows
from e2e.users import User


async def save(page: Page, button: str, **fields: str) -> None:
    form = page.locator("form", has=page.get_by_role("button", name=button, exact=True))
    for name, value in fields.items():
        await form.locator(f"[name={name}]").fill(value)
    await form.get_by_role("button", name=button, exact=True).click()


async def test_profile_email_and_password_are_changed(windows: Windows, user: User) -> None:
    windows.trouble.expected |= {403, 422}
    page = await windows.open("/settings", user=user)
    username = f"new_{secrets.token_hex(4)}"
    await save(page, "Save profile", name="Ada Byron", username=username)
    await expect(page.get_by_text("Saved.")).to_be_visible()
    await expect(page.locator(".who")).to_have_text(f"Ada Byron@{username}")
    await save(page, "Save profile", username="no spaces")
    await expect(page.locator("[data-field=username] .error")).to_have_text("Only letters, digits and _ are allowed.")

    await save(page, "Change email", email=f"{username}@example.org", current_password="wrong")
    error = page.locator("form", has_text="New email").locator("[data-field=current_password] .error")
    await expect(error).to_have_text("Enter your current password.")
    await save(page, "Change email", email=f"{username}@example.org", current_password=user.password)
    await expect(page.get_by_text(f"We sent an email to {username}@example.org.")).to_be_visible()
    await page.get_by_role("button", name="Resend email").click()
    await expect(page.get_by_text("Email sent.")).to_be_visible()

    password = secrets.token_urlsafe(16)
    await save(page, "Change password", current_password="wrong", new_password=password)
    error = page.locator("form", has_text="New password").locator("[data-field=current_password] .error")
    await expect(error).to_have_text("The current password is wrong.")
    await save(page, "Change password", current_password=user.password, new_password=password)
    await expect(page.get_by_text("Password changed.")).to_be_visible()
    # The access token from before is void, in this window too: it has got another.
    await page.get_by_role("link", name="Home").click()
    await expect(page.get_by_role("heading", name="Home")).to_be_visible()
    assert (await user.client.get("/api/auth/v1/users/me")).status_code == 401


async def test_sessions_are_listed_and_ended(windows: Windows, user: User) -> None:
    page = await windows.open("/settings", user=user)
    sessions = page.locator(".sessions li")
    await expect(sessions).to_have_count(2)
    await expect(sessions.filter(has_text="This device")).to_have_count(1)
    await page.get_by_role("button", name="End session").click()
    await expect(sessions).to_have_count(1)
    await expect(page.locator(".sessions")).to_be_focused()
    assert (await user.client.get("/api/auth/v1/users/me")).status_code == 401
    await page.get_by_role("button", name="Log out everywhere").click()
    await page.get_by_role("dialog").get_by_role("button", name="Log out everywhere").click()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()


async def test_data_is_exported_and_the_account_deleted(windows: Windows, user: User, tmp_path: Path) -> None:
    windows.trouble.expected |= {403}
    tweet = await user.tweet("to be exported")
    page = await windows.open("/settings", user=user)
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Download my data").click()
    await (await downloading.value).save_as(tmp_path / "data.json")
    data = json.loads((tmp_path / "data.json").read_text())
    assert data["account"]["profile"]["username"] == user.username
    assert [each["id"] for each in data["tweets"]] == [tweet["id"]]

    await page.get_by_role("button", name="Delete my account", exact=True).click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Current password").fill("not the password")
    await dialog.get_by_role("button", name="permanently").click()
    await expect(dialog).to_contain_text("Enter your current password.")
    await dialog.get_by_label("Current password").fill(user.password)
    await dialog.get_by_role("button", name="permanently").click()
    await expect(page.get_by_text("Your account was deleted.")).to_be_visible()
    login = {"login": user.username, "password": user.password}
    async with httpx.AsyncClient(base_url=windows.gateway, timeout=20) as client:
        assert (await client.post("/api/auth/v1/login", json=login)).status_code == 401


async def test_admin_finds_and_changes_accounts(windows: Windows, new_user: NewUser) -> None:
    windows.trouble.expected |= {403}
    admin, user = await new_user("admin"), await new_user()
    page = await windows.open("/", user=admin)
    await page.get_by_role("link", name="Users").click()
    await page.get_by_label("begins with").fill(user.username)
    await page.get_by_role("button", name="Show").click()
    row = page.locator("tbody tr")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text(f"{user.username}@example.com")
    await row.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Role").select_option("technical_worker")
    await dialog.get_by_label("Active").uncheck()
    await dialog.get_by_role("button", name="Save").click()
    error = dialog.locator("[data-field=current_password] .error")
    await expect(error).to_have_text("Enter your current password.")
    await dialog.get_by_label("Current password").fill(admin.password)
    await dialog.get_by_role("button", name="Save").click()
    await expect(row).to_contain_text("technical worker")
    await expect(row).to_contain_text("Deactivated")
    await expect(row.get_by_role("button", name="Edit")).to_be_focused()
    assert (await user.client.get("/api/auth/v1/users/me")).status_code == 401
    await page.get_by_label("State").select_option("Active")
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_text("No users found.")).to_be_visible()
    await page.go_back()
    await row.get_by_role("button", name="Edit").click()
    await dialog.get_by_role("button", name="Delete account").click()
    deletion = page.get_by_role("dialog", name="Delete this account?")
    await deletion.get_by_label("Current password").fill(admin.password)
    await deletion.get_by_role("button", name="Delete").click()
    await expect(row).to_have_count(0)
    await expect(page.get_by_role("region", name="Users")).to_be_focused()


async def test_each_role_sees_what_it_may(windows: Windows, new_user: NewUser) -> None:
    wanted = {
        "customer": ([], "Permission denied"),
        "technical_worker": (["Sync"], "Permission denied"),
        "senior_manager": (["Users", "Sync"], "Users"),
    }
    for role, (links, heading) in wanted.items():
        page = await windows.open("/users", user=await new_user(role))
        await expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        shown = await page.get_by_role("navigation", name="Main").get_by_role("link").all_inner_texts()
        assert [each for each in shown if each in ("Users", "Sync")] == links
        assert await page.get_by_role("button", name="Edit").count() == 0
