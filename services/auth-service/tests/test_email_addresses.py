"""Confirmation and change of email addresses."""

import asyncio

import httpx
import pytest

from auth_service.settings import Settings
from support.auth_app import AdjustableClock, Mailbox, NewForm, Register, RegisteredUser, client_of, log_in, running_app
from support.polling import eventually
from support.responses import bearer, problem

CONFIRM, CONFIRM_NEW = "confirm your email address", "confirm your new email address"


async def verify(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/v1/email/verify", json={"token": token})


async def profile(client: httpx.AsyncClient, user: RegisteredUser) -> dict[str, object]:
    answer = await client.get("/v1/users/me", headers=bearer(user))
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    return body


async def change(client: httpx.AsyncClient, user: RegisteredUser, email: str) -> httpx.Response:
    body = {"email": email, "current_password": user["form"]["password"]}
    return await client.patch("/v1/users/me", json=body, headers=bearer(user))


async def test_registration_mail_confirms_the_email(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    assert registered["user"]["email_verified"] is False
    token = await mailbox.token(registered["form"]["email"], CONFIRM)
    assert (await verify(client, token)).status_code == 204
    assert (await profile(client, registered))["email_verified"] is True
    assert problem(await verify(client, token)) == (422, "invalid-email-token")


async def test_new_email_replaces_the_old_after_its_confirmation(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    old, new = registered["form"]["email"], f"new-{registered['form']['email']}"
    answer = await change(client, registered, new)
    assert (answer.json()["email"], answer.json()["pending_email"]) == (old, new)
    await mailbox.text(old, "about to change")
    token = await mailbox.token(new, CONFIRM_NEW)
    assert problem(await client.post("/v1/login", json={"login": new, "password": registered["form"]["password"]})) == (
        401,
        "invalid-credentials",
    )
    assert (await verify(client, token)).status_code == 204
    after = await profile(client, registered)
    assert (after["email"], after["pending_email"], after["email_verified"]) == (new, None, True)
    await mailbox.text(old, "was changed")
    registered["form"]["username"] = new
    assert await log_in(client, registered)


async def test_confirmation_expires_after_a_day(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox, clock: AdjustableClock
) -> None:
    token = await mailbox.token(registered["form"]["email"], CONFIRM)
    clock.advance(days=1, seconds=1)
    assert problem(await verify(client, token)) == (422, "invalid-email-token")


async def test_change_of_email_can_be_cancelled(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    old, new = registered["form"]["email"], f"new-{registered['form']['email']}"
    await change(client, registered, new)
    token = await mailbox.token(new, CONFIRM_NEW)
    assert (await change(client, registered, old)).json()["pending_email"] is None
    assert problem(await verify(client, token)) == (422, "invalid-email-token")


async def test_email_of_another_user_is_refused(
    client: httpx.AsyncClient, registered: RegisteredUser, register: Register
) -> None:
    other = await register()
    answer = await change(client, registered, other["form"]["email"].upper())
    assert problem(answer) == (409, "email-taken")
    assert answer.json()["errors"][0]["pointer"] == "#/email"


async def test_email_that_was_taken_before_its_confirmation_is_refused(
    client: httpx.AsyncClient, register: Register, mailbox: Mailbox
) -> None:
    wanted = "wanted-by-two@example.com"
    tokens: list[str] = []
    for user in (await register(), await register()):
        await change(client, user, wanted)
        tokens.append(await eventually(lambda: mailbox.token(wanted, CONFIRM_NEW), lambda new: new not in tokens))
    answers = await asyncio.gather(*(verify(client, token) for token in tokens))
    assert sorted(answer.status_code for answer in answers) == [204, 409]


async def test_confirmation_mail_can_be_resent(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    email = registered["form"]["email"]
    first = await mailbox.token(email, CONFIRM)
    answer = await client.post("/v1/email/resend", headers=bearer(registered))
    assert (answer.status_code, answer.content) == (202, b"")
    second = await eventually(lambda: mailbox.token(email, CONFIRM), lambda token: token != first)
    assert problem(await verify(client, first)) == (422, "invalid-email-token")
    assert (await verify(client, second)).status_code == 204


async def test_mails_per_account_are_limited(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
    answers = [await client.post("/v1/email/resend", headers=bearer(registered)) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]
    assert answers[0].headers["ratelimit"] == '"mail-account";r=4;t=900'


async def test_reset_confirms_the_email(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    await client.post("/v1/password/forgot", json={"email": registered["form"]["email"]})
    token = await mailbox.token(registered["form"]["email"], "choose a new password")
    await client.post("/v1/password/reset", json={"token": token, "new_password": "another good passphrase"})
    registered["form"]["password"] = "another good passphrase"
    assert (await profile(client, await log_in(client, registered)))["email_verified"] is True


@pytest.fixture
async def verifying(settings: Settings):  # type: ignore[no-untyped-def]  # a fixture of a context manager
    async with (
        running_app(settings, auth_require_email_verification=True) as replica,
        client_of(replica) as client,
    ):
        yield client


async def test_login_needs_a_confirmed_email_if_so_configured(
    verifying: httpx.AsyncClient, new_form: NewForm, mailbox: Mailbox
) -> None:
    form = new_form()
    answer = await verifying.post("/v1/register", json=form)
    assert (answer.status_code, answer.json()) == (202, {"status": "confirm-your-email"})
    login = {"login": form["username"], "password": form["password"]}
    assert problem(await verifying.post("/v1/login", json=login)) == (403, "email-not-verified")
    wrong = await verifying.post("/v1/login", json=login | {"password": "wrong password"})
    assert problem(wrong) == (401, "invalid-credentials")
    await verify(verifying, await mailbox.token(form["email"], CONFIRM))
    assert (await verifying.post("/v1/login", json=login)).status_code == 200


async def test_registration_with_a_taken_email_notifies_only_its_owner(
    verifying: httpx.AsyncClient, registered: RegisteredUser, new_form: NewForm, mailbox: Mailbox
) -> None:
    form = new_form() | {"email": registered["form"]["email"]}
    answer = await verifying.post("/v1/register", json=form)
    assert (answer.status_code, answer.json()) == (202, {"status": "confirm-your-email"})
    mail = await mailbox.text(registered["form"]["email"], "you already have an account")
    assert form["username"] not in mail
    login = {"login": form["username"], "password": form["password"]}
    assert problem(await verifying.post("/v1/login", json=login)) == (401, "invalid-credentials")
